import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { namesIn, readExpressions, readPanels, readRules } from "../helpers/monitoring.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { findTool, OPTIONAL_TOOLS } from "../helpers/tools.ts";

/*
 * The alert rules and the Grafana dashboard use metrics that exist. Where promtool is installed, it checks them too.
 */

const ROOT = join(import.meta.dirname, "../..");

describe("the alert rules and the dashboard", () => {
  /** Metrics of Prometheus itself and of its exporter for disks. */
  const OTHERS = /^(up|ALERTS|node_filesystem_(avail|size)_bytes)$/;
  const own = new Map(
    createMetrics()
      .registry.getMetricsAsArray()
      .map((metric) => [metric.name, metric]),
  );

  it("use only metrics and labels that exist", () => {
    const wrong: string[] = [];
    for (const { from, expr } of readExpressions()) {
      for (const [, name = "", selector = ""] of expr.matchAll(
        /\b(playhead_\w+|node_\w+|up|ALERTS)\b(?:\{(.*?)\})?/g,
      )) {
        if (OTHERS.test(name)) continue;
        const metric = own.get(name) ?? own.get(name.replace(/_bucket$/, ""));
        if (metric === undefined) {
          wrong.push(`${from}: no ${name}`);
          continue;
        }
        const { labelNames = [] } = metric as unknown as { labelNames: string[] };
        const by = [...expr.matchAll(/\bby \((.*?)\)/g)].flatMap(([, list = ""]) => list.split(", "));
        const labels = [...selector.matchAll(/(\w+)(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label);
        for (const label of [...labels, ...by]) {
          if (![...labelNames, "le", "instance", "job"].includes(label)) wrong.push(`${from}: ${name} has no ${label}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it("show every metric of Playhead in a panel", () => {
    const shown = new Set(readPanels().flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => namesIn(expr))));
    // The metrics of Node itself need no panel.
    const missing = [...own.keys()].filter((name) => !shown.has(name) && !/^playhead_(nodejs|process)_/.test(name));
    expect(missing).toEqual([]);
  });

  it("cover everything that operators have to watch", () => {
    const rules = new Map(readRules().map((rule) => [rule.alert, rule.expr]));
    expect(rules.get("PlayheadQueriesSlow")).toMatch(/^histogram_quantile\(0\.95.*> 0\.5$/);
    for (const alert of ["PlayheadHttpErrors", "PlayheadSocketErrors"]) expect(rules.get(alert)).toMatch(/> 0\.01$/);
    expect(rules.get("PlayheadConnectionsUsed")).toMatch(/> 0\.8$/);
    expect(rules.get("DiskUsed")).toMatch(/> 0\.8$/);
    const titles = readPanels().map(({ title }) => title);
    for (const title of [
      "Statements",
      "HTTP requests that fail, by endpoint",
      "Connections in use",
      "Hit ratio",
      "Storage growth",
    ]) {
      expect(titles).toContain(title);
    }
  });

  it("give every alert a name of its own, an urgency, a summary and a description", () => {
    const rules = readRules();
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, labels, annotations } of rules) {
      expect({ alert, severity: labels.severity }).toEqual({
        alert,
        severity: expect.stringMatching(/^(page|ticket)$/),
      });
      expect(annotations.summary.length).toBeGreaterThan(10);
      expect(annotations.description.length).toBeGreaterThan(0);
    }
  });
});

/** promtool is not installed for the tests: its package is large. */
describe.skipIf(findTool(OPTIONAL_TOOLS.promtool) === null)("promtool (apt-get install prometheus)", () => {
  const run = promisify(execFile);
  const promtool = findTool(OPTIONAL_TOOLS.promtool) ?? "";
  let folder: string;
  beforeAll(async () => {
    folder = await makeTemporaryFolder();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("accepts the configuration and the rules", async () => {
    const { stdout } = await run(promtool, ["check", "config", "prometheus.yml"], {
      cwd: join(ROOT, "deploy/prometheus"),
    });
    expect(stdout).toContain(`${readRules().length} rules found`);
  });

  it("accepts every query of the dashboard", async () => {
    const rules = readExpressions().map(({ expr }, i) => ({
      record: `query_${i}`,
      expr: expr.replaceAll("$__rate_interval", "1m"),
    }));
    const file = join(folder, "queries.yml");
    writeFileSync(file, stringify({ groups: [{ name: "queries", rules }] }));
    const { stdout } = await run(promtool, ["check", "rules", file]);
    expect(stdout).toContain(`${rules.length} rules found`);
  });

  it("raises an alert when its threshold is passed, and not before", async () => {
    const series = (name: string, values: string) => ({ series: name, values });
    const state = (of: string, value: number) =>
      series(`playhead_db_pool_connections{instance="a",state="${of}"}`, `${value}x60`);
    const test = {
      rule_files: [join(ROOT, "deploy/prometheus/rules.yml")],
      evaluation_interval: "1m",
      tests: [
        {
          interval: "1m",
          input_series: [
            ...[state("total", 10), state("idle", 1), state("max", 10), state("waiting", 0)],
            series('playhead_db_query_seconds_bucket{pool="reads",le="0.5"}', "0+50x60"),
            series('playhead_db_query_seconds_bucket{pool="reads",le="1"}', "0+100x60"),
            series('playhead_db_query_seconds_bucket{pool="reads",le="+Inf"}', "0+100x60"),
            series('playhead_db_query_seconds_bucket{pool="writers",le="0.5"}', "0+100x60"),
            series('playhead_db_query_seconds_bucket{pool="writers",le="+Inf"}', "0+100x60"),
            series('playhead_http_requests_total{route="/bad",status="500"}', "0+2x60"),
            series('playhead_http_requests_total{route="/bad",status="200"}', "0+98x60"),
            series('playhead_http_requests_total{route="/good",status="200"}', "0+100x60"),
            series('playhead_heartbeats_total{instance="a",outcome="internal"}', "_x24 1x40"),
            series('playhead_heartbeats_total{instance="b",outcome="internal"}', "1x60"),
            series('node_filesystem_avail_bytes{mountpoint="/",fstype="ext4"}', "19x60"),
            series('node_filesystem_size_bytes{mountpoint="/",fstype="ext4"}', "100x60"),
            series('node_filesystem_avail_bytes{mountpoint="/data",fstype="ext4"}', "21x60"),
            series('node_filesystem_size_bytes{mountpoint="/data",fstype="ext4"}', "100x60"),
          ],
          promql_expr_test: [
            ["PlayheadQueriesSlow", '{pool="reads"}'],
            ["PlayheadConnectionsUsed", '{instance="a"}'],
            ["PlayheadHttpErrors", '{route="/bad"}'],
            ["PlayheadInternalErrors", '{instance="a"}'],
            ["DiskUsed", '{mountpoint="/"}'],
          ].map(([alert, who]) => ({
            // 11: one alert fires, and it is the expected one.
            expr: `count(ALERTS{alertname="${alert}",alertstate="firing"}) + 10 * count(ALERTS{alertname="${alert}",alertstate="firing",${who?.slice(1, -1)}})`,
            eval_time: "30m",
            exp_samples: [{ labels: "{}", value: 11 }],
          })),
        },
      ],
    };
    const file = join(folder, "alerts.yml");
    writeFileSync(file, stringify(test));
    const { stdout } = await run(promtool, ["test", "rules", file]);
    expect(stdout).toContain("SUCCESS");
  });
});
