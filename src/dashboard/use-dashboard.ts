import { useEffect, useState } from "preact/hooks";
import { type ConnectionState, createDashboard, type Dashboard } from "../client/index.ts";
import { SERVER_URL } from "./server-url.ts";

/** A live connection while somebody is signed in, and the state of this connection. */
export function useDashboard(token: string | null): {
  dashboard: Dashboard | null;
  connection: ConnectionState | null;
} {
  const [dashboard, setDashboard] = useState<Dashboard | null>(null);
  const [connection, setConnection] = useState<ConnectionState | null>(null);
  useEffect(() => {
    if (token === null) return;
    const opened = createDashboard({ url: SERVER_URL, token });
    setDashboard(opened);
    setConnection(opened.state);
    opened.onState(setConnection);
    return () => {
      opened.close();
      setDashboard(null);
      setConnection(null);
    };
  }, [token]);
  return { dashboard, connection };
}
