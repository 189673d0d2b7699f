import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readConfiguration, substitute } from "../helpers/how-to.ts";
import { createApi } from "../helpers/http-api.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The configurations of docs/media-servers for servers that do not run here. They are well-formed for these servers,
 * their addresses are routes of Playhead, and their commands are run. nginx and node-media-server run with their
 * configurations in flows of their own.
 */

const PLAYHEAD = "http://127.0.0.1:8080";
const SECRET = "change-this-secret";

/** The routes that the server documents, `POST /v1/hooks/srs` for example. */
async function findHooks(): Promise<string[]> {
  const { body } = await createApi().call("/openapi.json");
  return Object.keys(body.paths).filter((path) => path.startsWith("/v1/hooks/"));
}

function hookOf(address: string) {
  const { origin, pathname, searchParams } = new URL(address);
  return { origin, pathname, query: Object.fromEntries(searchParams) };
}

describe("the configuration of SRS", () => {
  it("closes every block, and sends the events that Playhead handles to its hook", async () => {
    const conf = parseSrs(readConfiguration("srs", "srs"));
    const vhost = conf["vhost __defaultVhost__"] as SrsBlock;
    const { enabled, ...hooks } = vhost.http_hooks as Record<string, string>;
    expect(enabled).toBe("on");
    expect(Object.keys(hooks)).toEqual(["on_publish", "on_unpublish", "on_hls"]);
    for (const address of Object.values(hooks)) {
      expect(hookOf(address)).toEqual({
        origin: PLAYHEAD,
        pathname: "/v1/hooks/srs",
        query: { server: "srs-1", secret: SECRET },
      });
    }
    expect(await findHooks()).toContain("/v1/hooks/srs");
    expect((vhost.hls as SrsBlock).enabled).toBe("on");
  });
});

describe("the configuration of OvenMediaEngine", () => {
  it("is well-formed, and asks about publishers alone", async () => {
    const xml = readConfiguration("ovenmediaengine", "xml");
    expect(findUnclosed(xml)).toEqual([]);
    const [webhooks] = /<AdmissionWebhooks>.*<\/AdmissionWebhooks>/s.exec(xml) as unknown as [string];
    const address = substitute(textOf(webhooks, "ControlServerUrl"), {
      "&amp;": "&",
      // OvenMediaEngine fills in its environment.
      "${env:INVOCATION_ID:unknown}": "run-7",
    });
    expect(hookOf(address)).toEqual({
      origin: PLAYHEAD,
      pathname: "/v1/hooks/ovenmediaengine",
      query: { server: "ome-1", boot: "run-7" },
    });
    expect(textOf(webhooks, "SecretKey")).toBe(SECRET);
    expect(textOf(webhooks, "Providers")).toBe("rtmp,srt,webrtc");
    expect(webhooks).not.toContain("<Publishers>");
    expect(await findHooks()).toContain("/v1/hooks/ovenmediaengine");
  });
});

describe("the configuration of MediaMTX", () => {
  interface Called {
    method: string | undefined;
    url: string | undefined;
    type: string | undefined;
    body: string;
  }
  const config = parse(readConfiguration("mediamtx", "yaml"));
  const called: Called[] = [];
  let status = 204;
  let port: number;
  const stub = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    called.push({ method: request.method, url: request.url, type: request.headers["content-type"], body });
    response.writeHead(status).end();
  });

  beforeEach(async () => {
    called.length = 0;
    status = 204;
    await once(stub.listen(0, "127.0.0.1"), "listening");
    port = (stub.address() as AddressInfo).port;
  });
  afterEach(async () => {
    stub.close();
    stub.closeAllConnections();
  });

  /** Starts a command as MediaMTX does: it fills in its own variables first, then those of the environment. */
  function run(command: string, changes: Record<string, string> = {}) {
    const own: Record<string, string> = { MTX_PATH: "live/talk", MTX_SOURCE_ID: "5f0c", MTX_SOURCE_TYPE: "rtmpConn" };
    const expanded = substitute(command, { "127.0.0.1:8080": `127.0.0.1:${port}`, ...changes }).replace(
      /\$(\w+|[*#$@!?-])/g,
      (_, name: string) => own[name] ?? "",
    );
    // A process group of its own, which MediaMTX ends with SIGINT.
    return spawn("sh", ["-c", `exec ${expanded}`], { detached: true, stdio: "ignore" });
  }

  it("asks about publishers alone", async () => {
    expect(config.authMethod).toBe("http");
    expect(hookOf(config.authHTTPAddress)).toEqual({
      origin: PLAYHEAD,
      pathname: "/v1/hooks/mediamtx",
      query: { server: "mediamtx-1", secret: SECRET },
    });
    expect(await findHooks()).toContain("/v1/hooks/mediamtx");
    expect(config.authHTTPExclude).toEqual(
      ["read", "playback", "api", "metrics", "pprof"].map((action) => ({ action })),
    );
    expect(config.apiAddress).toMatch(/^127\.0\.0\.1:/);
  });

  it("reports a publisher again and again until it is told to stop", async () => {
    const command = run(config.pathDefaults.runOnReady, { "sleep 10": "sleep 0.05" });
    const ended = once(command, "exit");
    await waitFor(() => called.length >= 2, { what: "two reports" });
    process.kill(-(command.pid as number), "SIGINT");
    await ended;
    expect(called[0]).toEqual({
      method: "POST",
      url: `/v1/hooks/mediamtx?server=mediamtx-1&secret=${SECRET}`,
      type: "application/json",
      body: JSON.stringify({ action: "update", id: "5f0c", path: "live/talk" }),
    });
  });

  it("cuts a publisher whose report is answered with 403, but not for another answer", async () => {
    status = 503;
    const command = run(config.pathDefaults.runOnReady, {
      "sleep 10": "sleep 0.05",
      "127.0.0.1:9997": `127.0.0.1:${port}`,
    });
    const ended = once(command, "exit");
    await waitFor(() => called.length >= 2, { what: "two reports" });
    expect(called.filter(({ url }) => url?.includes("kick"))).toEqual([]);
    status = 403;
    await ended;
    expect(called.at(-1)).toMatchObject({ method: "POST", url: "/v3/rtmpconns/kick/5f0c" });
  });

  it("reports that a publisher is gone", async () => {
    const command = run(config.pathDefaults.runOnNotReady);
    expect(await once(command, "exit")).toEqual([0, null]);
    expect(called).toEqual([
      {
        method: "POST",
        url: `/v1/hooks/mediamtx?server=mediamtx-1&secret=${SECRET}`,
        type: "application/json",
        body: JSON.stringify({ action: "unpublish", id: "5f0c", path: "live/talk" }),
      },
    ]);
  });
});

type SrsBlock = { [directive: string]: string | SrsBlock };

/** Parses the syntax of SRS: `name argument…;`, `name argument… { … }`, and comments from `#` to the end of the line. */
function parseSrs(text: string): SrsBlock {
  const tokens = text.replace(/#.*$/gm, "").match(/[^\s;{}]+|[;{}]/g) ?? [];
  let at = 0;
  function block(isOuter: boolean): SrsBlock {
    const found: SrsBlock = {};
    let words: string[] = [];
    for (; at < tokens.length; at++) {
      const token = tokens[at] as string;
      if (token === ";") {
        const [name, ...rest] = words;
        if (name === undefined || rest.length === 0) throw new Error(`nothing stands before ";": ${words}`);
        found[name] = rest.join(" ");
        words = [];
      } else if (token === "{") {
        at += 1;
        found[words.join(" ")] = block(false);
        words = [];
      } else if (token === "}") {
        if (isOuter || words.length > 0) throw new Error(`"}" comes too early, after ${words}`);
        return found;
      } else {
        words.push(token);
      }
    }
    if (!isOuter || words.length > 0) throw new Error(`it ends too early, after ${words}`);
    return found;
  }
  return block(true);
}

/** Elements that are not closed, or not closed in the right order. */
function findUnclosed(xml: string): string[] {
  const open: string[] = [];
  const tags = xml
    .replace(/<!--.*?-->|<\?.*?\?>/gs, "")
    .matchAll(/<(\/?)(\w+)((?:\s+\w+="[^"<]*")*)\s*(\/?)>|<|&(?!\w+;)/g);
  for (const [all, closes, name, , isEmpty] of tags) {
    if (name === undefined) return [`a bare ${all}`];
    if (closes !== "/" && isEmpty !== "/") open.push(name);
    else if (closes === "/" && open.pop() !== name) return [name];
  }
  return open;
}

function textOf(xml: string, element: string): string {
  return new RegExp(`<${element}>(.*?)</${element}>`, "s").exec(xml)?.[1] ?? "";
}
