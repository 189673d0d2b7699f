import { signIn, signInToDemo } from "./api.ts";
import { Notice } from "./notice.tsx";
import type { Seat, Session } from "./session.ts";
import { useAction } from "./use-action.ts";

interface SignInProps {
  seat: Seat;
  title: string;
  text: string;
  demoLabel: string;
  onSignedIn(session: Session): void;
}

/** Signs in to the demo by one click, or with an account. */
export function SignIn({ seat, title, text, demoLabel, onSignedIn }: SignInProps) {
  const { isBusy, failure, run } = useAction();
  const submit = (start: () => Promise<Session>) => void run(async () => onSignedIn(await start()));

  function onSubmit(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    submit(() => signIn(String(form.get("email")), String(form.get("password"))));
  }

  return (
    <main class="sign-in">
      <div class="card">
        <h1>{title}</h1>
        <p class="muted">{text}</p>
        {failure && <Notice kind="error">{failure}</Notice>}
        <button type="button" class="primary" disabled={isBusy} onClick={() => submit(() => signInToDemo(seat))}>
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
