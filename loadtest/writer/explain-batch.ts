import type { PoolClient } from "../../src/db/pool.ts";
import type { SeenQuery } from "./timed-pool.ts";

const SETTINGS: Record<string, string> = {
  "auto_explain.log_min_duration": "0",
  "auto_explain.log_analyze": "on",
  "auto_explain.log_buffers": "on",
  "auto_explain.log_wal": "on",
  "auto_explain.log_triggers": "on",
  "auto_explain.log_nested_statements": "on",
  "auto_explain.log_parameter_max_length": "0",
  client_min_messages: "log",
};

/** Of the statements that PostgreSQL runs for every reference of a new row. */
const REFERENCE_CHECK = "FOR KEY SHARE OF x";

/**
 * EXPLAIN ANALYZE of every statement that a call of ours runs inside PostgreSQL, as it is planned there; its effects are
 * undone. The role has to be a superuser.
 */
export async function explainExecute(client: PoolClient, { text, values = [] }: SeenQuery): Promise<string> {
  const plans: string[] = [];
  const onNotice = ({ message = "" }: { message: string | undefined }) => {
    if (message.includes("plan:") && !message.includes(REFERENCE_CHECK)) plans.push(message);
  };
  await client.query("LOAD 'auto_explain'");
  await client.query("BEGIN");
  client.on("notice", onNotice);
  try {
    for (const [name, value] of Object.entries(SETTINGS)) {
      await client.query("SELECT set_config($1, $2, true)", [name, value]);
    }
    await client.query(text, values);
  } finally {
    client.off("notice", onNotice);
    await client.query("ROLLBACK");
  }
  return plans.join("\n");
}
