import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

const DEPLOY = join(import.meta.dirname, "../../deploy");

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}

interface Panel {
  title: string;
  type: string;
  targets?: { expr: string }[];
}

export function readRules(): Rule[] {
  const { groups } = parse(readFileSync(join(DEPLOY, "prometheus/rules.yml"), "utf8")) as {
    groups: { rules: Rule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

export function readPanels(): Panel[] {
  const text = readFileSync(join(DEPLOY, "grafana/dashboards/playhead.json"), "utf8");
  return (JSON.parse(text) as { panels: Panel[] }).panels;
}

/** Every expression that Prometheus evaluates, with the name of its alert or the title of its panel. */
export function readExpressions(): { from: string; expr: string }[] {
  return [
    ...readRules().map(({ alert, expr }) => ({ from: alert, expr })),
    ...readPanels().flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ from: title, expr }))),
  ];
}

/** The names of Playhead's own metrics in an expression. That of a histogram comes without its suffix. */
export function namesIn(expr: string): string[] {
  return [...new Set(expr.match(/\bplayhead_\w+/g) ?? [])].map((name) => name.replace(/_bucket$/, ""));
}
