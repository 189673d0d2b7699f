import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig, VARIABLES } from "../../src/config.ts";
import { readPanels } from "../helpers/monitoring.ts";

/*
 * Checks of docker-compose.yml, the Dockerfile and the files that they mount, as far as they work without Docker: every
 * reference leads somewhere, no file has a secret in it, and the processes run without rights.
 */

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

interface Service {
  image: string;
  build?: string;
  user?: string;
  environment?: Record<string, string>;
  command?: string[];
  volumes?: string[];
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[]; interval: string; timeout: string; retries: number };
  restart: string;
  mem_limit: string;
  read_only?: boolean;
  cap_drop?: string[];
  stop_grace_period?: string;
}

const text = read("docker-compose.yml");
const compose = parse(text, { merge: true }) as { services: Record<string, Service>; volumes: Record<string, null> };
const services = Object.entries(compose.services);
const serviceOf = (name: string) => compose.services[name] as Service;
/** Every `${NAME…}`, with the text between the name and the brace. */
const variables = [...text.matchAll(/\$\{(\w+)(.*?)\}/g)].map(([, name, rest]) => ({
  name: String(name),
  rest: String(rest),
}));
const SECRETS = /PASSWORD|SECRET/;

describe("docker-compose.yml", () => {
  it("has every service, in the version that Playhead needs", () => {
    expect(Object.keys(compose.services).sort()).toEqual([
      ...["grafana", "node-exporter", "playhead-1", "playhead-2", "postgres", "prometheus", "proxy", "redis"],
    ]);
    expect(serviceOf("postgres").image).toMatch(/^postgres:18/);
    expect(serviceOf("redis").image).toMatch(/^redis:8/);
    expect(serviceOf("playhead-2")).toEqual(serviceOf("playhead-1"));
  });

  it.each(services)(
    "restarts %s, limits its memory and checks its health",
    (name, { restart, mem_limit, healthcheck, image, build }) => {
      expect({ restart, limited: /^\d+[mg]$/.test(mem_limit) }).toEqual({ restart: "unless-stopped", limited: true });
      // The tag `latest` could bring a new major version overnight.
      expect(image).not.toMatch(/:latest$/);
      // Playhead's own is in its image.
      if (build !== undefined) expect({ name, image }).toMatchObject({ image: "playhead" });
      else {
        expect(image).toMatch(/:v?\d/);
        expect(healthcheck?.test[0]).toMatch(/^CMD(-SHELL)?$/);
        expect(healthcheck?.interval).toMatch(/^\d+s$/);
        expect(healthcheck?.retries).toBeGreaterThan(0);
      }
    },
  );

  it("makes services wait only for services that exist and report their health", () => {
    const waits = services.flatMap(([name, { depends_on = {} }]) =>
      Object.entries(depends_on).map(([on, { condition }]) => ({ name, on, condition })),
    );
    expect(waits.length).toBeGreaterThan(4);
    for (const { on, condition } of waits) {
      expect(compose.services).toHaveProperty(on);
      expect(condition).toBe("service_healthy");
    }
    expect(Object.keys(serviceOf("proxy").depends_on ?? {})).toEqual(["playhead-1", "playhead-2"]);
    expect(Object.keys(serviceOf("playhead-1").depends_on ?? {})).toEqual(["postgres", "redis"]);
  });

  it("mounts files that exist, read-only, and volumes that it declares", () => {
    const mounts = services.flatMap(([, { volumes = [] }]) => volumes.map((mount) => mount.split(":")));
    for (const [source = "", , mode] of mounts) {
      if (source.startsWith("./"))
        expect({ source, there: existsSync(join(ROOT, source)), mode }).toMatchObject({ there: true, mode: "ro" });
      else if (source !== "/") expect(Object.keys(compose.volumes)).toContain(source);
    }
    // PostgreSQL 18's image refuses to start with a mount at the folder of older ones.
    expect(serviceOf("postgres").volumes).toEqual(["postgres-data:/var/lib/postgresql"]);
  });

  it("has no secret in it: each comes from the environment", () => {
    const secrets = variables.filter(({ name }) => SECRETS.test(name));
    expect([...new Set(secrets.map(({ name }) => name))].sort()).toEqual([
      ...["AUTH_SECRET", "GRAFANA_PASSWORD", "HOOK_SECRETS", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "RTMP_SECRETS"],
    ]);
    for (const { name, rest } of secrets) {
      // These two may be left out: then no media server is let in.
      const expected = /^(RTMP|HOOK)_SECRETS$/.test(name) ? /^:-$/ : /^:\?.+/;
      expect({ name, rest }).toEqual({ name, rest: expect.stringMatching(expected) });
    }
    const written = services.flatMap(([name, { environment = {} }]) =>
      Object.entries(environment)
        .filter(
          ([key, value]) =>
            (SECRETS.test(key) || /_URL$/.test(key) || key === "REDISCLI_AUTH") && !value.includes("${"),
        )
        .map(([key]) => `${name}: ${key}`),
    );
    expect(written).toEqual([]);
  });

  it("opens the proxy to everybody, Prometheus and Grafana to this machine, and nothing else", () => {
    const open = services.flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port.replace(/\$\{\w+:-(\d+)\}/, "$1")}`),
    );
    expect(open).toEqual(["proxy 8080:8080", "prometheus 127.0.0.1:9090:9090", "grafana 127.0.0.1:3000:3000"]);
  });

  it("gives the nodes and the proxy a read-only system and no capabilities", () => {
    for (const name of ["playhead-1", "playhead-2", "proxy"]) {
      expect(serviceOf(name)).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
      });
    }
    expect(serviceOf("proxy").user).toBe("101:101");
  });

  it("gives the nodes valid settings, and more time to stop than they need", () => {
    const devEnvironment = readDevEnvironment();
    const { environment = {} } = serviceOf("playhead-1");
    const given = Object.fromEntries(
      Object.entries(environment).map(([key, value]) => [
        key,
        value.replace(/\$\{(\w+)(?::[-?](.*?))?\}/g, (_, name, rest) => devEnvironment[name] ?? rest),
      ]),
    );
    expect(Object.keys(given).filter((key) => !(key in VARIABLES))).toEqual([]);
    const config = loadConfig(given);
    expect(config).toMatchObject({
      embedded: false,
      DATABASE_URL: "postgres://playhead:devonlypostgres@postgres:5432/playhead",
      REDIS_URL: ["redis://:devonlyredis@redis:6379"],
      TRUST_PROXY: true,
    });
    expect(Number.parseInt(serviceOf("playhead-1").stop_grace_period ?? "", 10) * 1000).toBeGreaterThan(
      config.SHUTDOWN_TIMEOUT_MS,
    );
  });

  it("finds every secret that it requires in deploy/dev.env, whose values say that they are for development", () => {
    const dev = readDevEnvironment();
    const required = variables.filter(({ rest }) => rest.startsWith(":?")).map(({ name }) => name);
    expect(required.filter((name) => !(name in dev))).toEqual([]);
    for (const [name, value] of Object.entries(dev)) {
      if (SECRETS.test(name)) expect({ name, value }).toEqual({ name, value: expect.stringMatching(/^dev-?only/) });
    }
    expect(Object.keys(dev).filter((name) => !variables.some((variable) => variable.name === name))).toEqual([]);
  });

  function readDevEnvironment(): Record<string, string> {
    const lines = read("deploy/dev.env")
      .split("\n")
      .filter((line) => /^\w+=/.test(line));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
  }
});

describe("the proxy and Prometheus", () => {
  it("use the addresses of the nodes", () => {
    const nodes = services.filter(([, { build }]) => build !== undefined).map(([name]) => `${name}:8080`);
    const balanced = [...read("deploy/nginx/nginx.conf").matchAll(/^\s+server (\S+:\d+) /gm)].map(([, node]) => node);
    expect(balanced).toEqual(nodes);
    const { scrape_configs, rule_files } = parse(read("deploy/prometheus/prometheus.yml")) as {
      scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
      rule_files: string[];
    };
    const targets = (job: string) =>
      scrape_configs.find(({ job_name }) => job_name === job)?.static_configs[0]?.targets;
    expect(targets("playhead")).toEqual(nodes);
    expect(targets("node")).toEqual(["node-exporter:9100"]);
    expect(rule_files).toEqual(["rules.yml"]);
  });

  it("serve Grafana, which finds its data source and its dashboard", () => {
    const sources = parse(read("deploy/grafana/provisioning/datasources/prometheus.yml")) as {
      datasources: { uid: string; url: string }[];
    };
    expect(sources.datasources).toMatchObject([{ uid: "prometheus", url: "http://prometheus:9090" }]);
    const { providers } = parse(read("deploy/grafana/provisioning/dashboards/playhead.yml")) as {
      providers: { options: { path: string } }[];
    };
    const folder = providers[0]?.options.path;
    expect(serviceOf("grafana").volumes).toContain(`./deploy/grafana/dashboards:${folder}:ro`);
    expect(serviceOf("grafana").environment?.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH).toBe(`${folder}/playhead.json`);
    const used = JSON.stringify(readPanels()).matchAll(/"type":"prometheus","uid":"(\w+)"/g);
    expect(new Set([...used].map(([, uid]) => uid))).toEqual(new Set(["prometheus"]));
    expect(readdirSync(join(ROOT, "deploy/grafana/dashboards"))).toEqual(["playhead.json"]);
  });
});

describe("the Dockerfile", () => {
  const dockerfile = read("Dockerfile");
  const last = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));

  it("runs as a user without rights, has a health check, and stops at SIGTERM", () => {
    expect(last).toMatch(/^USER node$/m);
    expect(last.slice(last.indexOf("USER node"))).not.toMatch(/^(RUN|USER root)/m);
    expect(last).toMatch(/^HEALTHCHECK [\s\S]*\/readyz/m);
    expect(last).toMatch(/^ENTRYPOINT \[/m);
    expect(last).toMatch(/^STOPSIGNAL SIGTERM$/m);
  });

  it("builds on Debian and a version of Node that uWebSockets.js has binaries for", () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    expect(bases).toEqual(["node:22-trixie-slim", "base", "packages", "packages", "base"]);
  });

  it("has no secret in it, and copies none into the image", () => {
    expect(dockerfile).not.toMatch(/^(ARG|ENV).*(SECRET|PASSWORD|TOKEN|_URL)/m);
    const ignored = read(".dockerignore").split("\n");
    expect(ignored).toContain("*");
    expect(ignored.filter((line) => line.startsWith("!")).join()).not.toMatch(/\.env|\.playhead|node_modules|\.git/);
  });
});
