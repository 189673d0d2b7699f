import { type Command, InvalidArgumentError } from "commander";
import { WEBHOOK_EVENTS, type Webhook, WebhookEvents, WebhookUrl } from "../protocol/webhook.ts";
import { createWebhookStore, type WebhookStore } from "../webhooks/webhook-store.ts";
import { withMigratedPool } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";
import { parseId } from "./option-parsers.ts";
import { toPlainText, toTable } from "./text-table.ts";

/*
 * `playhead webhooks …`: the commands by which an operator keeps webhooks. They write to the database; running servers
 * send by what it holds.
 */

const ROWS = 200;

/** Adds `webhooks` and its commands. */
export function addWebhookCommands(program: Command, parts: CommandParts): void {
  const { print, note } = parts;
  const webhooks = program.command("webhooks").description("keep the addresses that are told of events over HTTP");

  function printSecret({ webhook, secret }: { webhook: Webhook; secret: string }, json?: true): void {
    if (json) print(JSON.stringify({ webhook, secret }));
    else {
      print(`webhook ${toPlainText(webhook.id)}`);
      print(`secret ${secret}`);
    }
    note("Keep the secret: it is not shown again. If it is lost, rotate it.");
  }

  webhooks
    .command("add")
    .description("make a webhook, and print its id and its secret; the secret is shown only this once")
    .argument("<url>", "where events are sent", parseUrl)
    .requiredOption("--events <types>", `which, separated by commas: ${WEBHOOK_EVENTS.join(", ")}`, parseEvents)
    .option("--description <text>", "what it is for")
    .option("--json", "print one JSON object")
    .action((url: string, { events, description, json }: AddOptions) =>
      withStore(parts, async (store) =>
        printSecret(await store.create({ url, events, ...(description === undefined ? {} : { description }) }), json),
      ),
    );

  webhooks
    .command("list")
    .description("list webhooks, and how many of their deliveries wait or were given up")
    .option("--json", "print one JSON object")
    .action(({ json }: { json?: true }) =>
      withStore(parts, async (store) => {
        const found = await store.list();
        if (json) print(JSON.stringify({ webhooks: found }));
        else for (const line of toTable(WEBHOOK_HEADINGS, found.map(toWebhookRow))) print(line);
      }),
    );

  webhooks
    .command("deliveries")
    .description(`list the newest deliveries of a webhook, at most ${ROWS}`)
    .argument("<id>", "the webhook's id", parseId)
    .option("--dead", "only those that were given up")
    .option("--json", "print one JSON object")
    .action((id: string, { dead, json }: { dead?: true; json?: true }) =>
      withStore(parts, async (store) => {
        const { deliveries } = await store.deliveries(id, { limit: ROWS, ...(dead ? { state: "dead" } : {}) });
        if (json) print(JSON.stringify({ deliveries }));
        else
          for (const line of toTable(
            ["EVENT", "TYPE", "AT", "STATE", "ATTEMPTS", "ERROR"],
            deliveries.map((delivery) => [
              delivery.eventId,
              delivery.type,
              delivery.createdAt,
              delivery.state,
              String(delivery.attempts),
              delivery.lastError ?? "-",
            ]),
          ))
            print(line);
      }),
    );

  webhooks
    .command("retry")
    .description("send deliveries again that were given up: one, or all of a webhook")
    .argument("<id>", "the webhook's id", parseId)
    .argument("[event]", "the event's id", parseId)
    .action((id: string, event?: string) =>
      withStore(parts, async (store) => {
        print(`${await store.retry(id, event)} deliveries are sent again`);
      }),
    );

  webhooks
    .command("rotate")
    .description("give a webhook another secret, and switch it on again if it was disabled")
    .argument("<id>", "the webhook's id", parseId)
    .option("--json", "print one JSON object")
    .action((id: string, { json }: { json?: true }) =>
      withStore(parts, async (store) => printSecret(await store.rotate(id), json)),
    );

  webhooks
    .command("remove")
    .description("delete a webhook, and what waits for it")
    .argument("<id>", "the webhook's id", parseId)
    .action((id: string) =>
      withStore(parts, async (store) => {
        await store.delete(id);
        print(`webhook ${toPlainText(id)} is deleted`);
      }),
    );
}

interface AddOptions {
  events: Webhook["events"];
  description?: string;
  json?: true;
}

async function withStore({ readSetting }: CommandParts, work: (store: WebhookStore) => Promise<void>): Promise<void> {
  const setting = readSetting();
  const options = { applicationName: "playhead-webhooks", max: 1, queryTimeoutMs: setting.config.QUERY_TIMEOUT_MS };
  await withMigratedPool(setting, options, (pool) => work(createWebhookStore({ pool })));
}

const WEBHOOK_HEADINGS = ["ID", "URL", "EVENTS", "STATE", "WAITING", "DEAD", "DESCRIPTION"];

function toWebhookRow({ id, url, events, description, disabledAt, waiting, dead }: Webhook): string[] {
  const state = disabledAt === null ? "on" : "disabled";
  return [id, url, events.join(","), state, String(waiting), String(dead), description];
}

function parseUrl(text: string): string {
  const result = WebhookUrl.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues.map(({ message }) => message).join("; "));
}

function parseEvents(text: string): Webhook["events"] {
  const result = WebhookEvents.safeParse(text.split(",").map((type) => type.trim()));
  if (result.success) return result.data;
  throw new InvalidArgumentError(`Expected some of ${WEBHOOK_EVENTS.join(", ")}, separated by commas.`);
}
