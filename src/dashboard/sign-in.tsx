import { useState } from "preact/hooks";
import { signIn, signInToDemo } from "./api.ts";
import { Notice } from "./notice.tsx";
import type { Seat, Session } from "./session.ts";

interface SignInProps {
  seat: Seat;
  title: string;
  text: string;
  demoLabel: string;
  onSignedIn(session: Session): void;
}

/** One click for the demo, or an account of one's own. */
export function SignIn({ seat, title, text, demoLabel, onSignedIn }: SignInProps) {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  async function submit(start: () => Promise<Session>): Promise<void> {
    setBusy(true);
    setFailure(null);
    try {
      onSignedIn(await start());
    } catch (error) {
      setFailure((error as Error).message);
      setBusy(false);
    }
  }

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void submit(() => signIn(String(form.get("email")), String(form.get("password"))));
  }

  return (
    <main class="sign-in">
      <div class="card">
        <h1>{title}</h1>
        <p class="muted">{text}</p>
        {failure && <Notice kind="error">{failure}</Notice>}
        <button type="button" class="primary" disabled={isBusy} onClick={() => void submit(() => signInToDemo(seat))}>
          {demoLabel}
        </button>
        <p class="or">or with an account</p>
        <form onSubmit={onSubmit}>
          <label>
            E-mail
            <input name="email" type="email" autocomplete="username" required />
          </label>
          <label>
            Password
            <input name="password" type="password" autocomplete="current-password" required />
          </label>
          <button type="submit" disabled={isBusy}>
            Sign in
          </button>
        </form>
      </div>
    </main>
  );
}
