/*
 * The rules of xAPI 1.0.3 and of its Video Profile 1.0.2 for statements, written from their texts alone:
 *   https://github.com/adlnet/xAPI-Spec/blob/1.0.3/xAPI-Data.md
 *   https://github.com/adlnet/xapi-authored-profiles/blob/master/video/v1.0.2/video.jsonld (templates, patterns, schemas)
 *   https://github.com/liveaspankaj/xapi-video-cop/blob/master/statement_data_model.md (obligations of the profile's text)
 */

// biome-ignore lint/suspicious/noExplicitAny: a statement may be anything until it is checked.
export type AnyStatement = any;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const UUID_4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const DURATION = /^P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d{1,2})?S)?)?$/;
const LANGUAGE = /^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$/;
const PROPERTIES = "id actor verb object result context timestamp stored authority version attachments".split(" ");

const VIDEO = "https://w3id.org/xapi/video";
const VERBS: Record<string, string> = {
  "http://adlnet.gov/expapi/verbs/initialized": "initialized",
  "http://adlnet.gov/expapi/verbs/completed": "completed",
  "http://adlnet.gov/expapi/verbs/terminated": "terminated",
  "http://adlnet.gov/expapi/verbs/interacted": "interacted",
  [`${VIDEO}/verbs/played`]: "played",
  [`${VIDEO}/verbs/paused`]: "paused",
  [`${VIDEO}/verbs/seeked`]: "seeked",
};
const WITH_LENGTH = ["initialized", "completed", "terminated", "paused"];
const WITH_TIME = ["played", "paused", "terminated", "interacted", "completed"];
const WITH_PROGRESS = ["paused", "terminated", "completed"];

/** The short name of a statement's verb. */
export function verbOf(statement: AnyStatement): string {
  return VERBS[statement?.verb?.id] ?? "unknown";
}

export function extensionOf(statement: AnyStatement, part: "context" | "result", name: string): AnyStatement {
  return statement?.[part]?.extensions?.[`${VIDEO}/extensions/${name}`];
}

/** What is wrong with one statement, seen alone. */
export function checkStatement(statement: AnyStatement): string[] {
  const problems: string[] = [];
  const must = (holds: unknown, rule: string) => void (holds || problems.push(rule));
  const verb = verbOf(statement);
  checkShape(statement, must);

  must(UUID.test(statement.id), "2.1: an id");
  must(verb !== "unknown", "2.3: a verb of the profile");
  must(statement.object?.definition?.type === `${VIDEO}/activity-type/video`, "2.4.1: the type of the object");
  const categories = (statement.context?.contextActivities?.category ?? []).map(({ id }: AnyStatement) => id);
  must(categories.includes(VIDEO), "2.6: the category of the profile");
  must(TIMESTAMP.test(statement.timestamp), "templates: a timestamp");
  must((statement.result?.completion === true) === (verb === "completed"), "2.5.2: completion with completed alone");
  if (verb === "completed") must(statement.result?.duration, "2.5.3: a duration with completed");

  const decimal = (value: unknown, max = Number.POSITIVE_INFINITY) =>
    typeof value === "number" && value >= 0 && value <= max && Number.isInteger(Number((value * 1000).toFixed(6)));
  const time = extensionOf(statement, "result", "time");
  const progress = extensionOf(statement, "result", "progress");
  const length = extensionOf(statement, "context", "length");
  const threshold = extensionOf(statement, "context", "completion-threshold");
  const session = extensionOf(statement, "context", "session-id");
  if (WITH_LENGTH.includes(verb)) must(decimal(length) && length > 0, "2.6.2.13: length");
  if (WITH_TIME.includes(verb)) must(decimal(time) && time <= length, "2.5.4.1: time");
  if (WITH_PROGRESS.includes(verb)) {
    must(decimal(progress, 1), "2.5.4.4: progress from 0 to 1");
    const segments = parseSegments(extensionOf(statement, "result", "played-segments"));
    must(
      segments?.every(([from, to]) => from <= to && to <= length),
      "2.5.4.5: played-segments",
    );
    const played = (segments ?? []).reduce((sum, [from, to]) => sum + to - from, 0);
    must(Math.abs(played / length - progress) < 0.0021, "2.5.4.4: progress is the share of the played segments");
  }
  must(threshold === undefined || (decimal(threshold, 1) && threshold > 0), "2.6.2.14: completion-threshold");
  if (verb === "completed") must(progress >= (threshold ?? 1), "2.6.2.14: completed at the threshold, not below");
  if (verb === "initialized") must(session === statement.id, "2.6.2.1: the session is the id of initialized");
  if (session !== undefined) must(UUID_4.test(session), "schema of session-id");
  return problems.map((problem) => `${verb}: ${problem}`);
}

type Must = (holds: unknown, rule: string) => void;

/** What every statement of xAPI must be. */
function checkShape(statement: AnyStatement, must: Must): void {
  const isIri = (text: unknown) => typeof text === "string" && /^[a-z][a-z0-9+.-]*:\S+$/i.test(text);
  must(
    Object.keys(statement).every((name) => PROPERTIES.includes(name)),
    "2.4: no other properties",
  );
  must(!JSON.stringify(statement).includes(":null"), "2.2: no null");
  const { account, objectType, ...others } = statement.actor ?? {};
  must(objectType === "Agent" && Object.keys(others).length === 0, "2.4.2: one identifier of the actor, and no name");
  must(isIri(account?.homePage) && typeof account?.name === "string" && account.name !== "", "2.4.2.4: the account");
  must(isIri(statement.verb?.id), "2.4.3: the verb");
  must(isIri(statement.object?.id), "2.4.4: the object");
  must(!("version" in statement) || /^1\.0\.\d+$/.test(statement.version), "2.4.10: the version");
  for (const texts of [statement.verb?.display, statement.object?.definition?.name])
    must(texts === undefined || Object.keys(texts).every((key) => LANGUAGE.test(key)), "4.2: language tags");
  for (const part of ["context", "result"]) {
    const extensions = statement[part]?.extensions ?? {};
    must(Object.keys(extensions).every(isIri), `4.1: names of extensions of ${part} are IRIs`);
  }
  const { registration, contextActivities = {} } = statement.context ?? {};
  must(registration === undefined || UUID.test(registration), "2.4.6.1: registration");
  must(
    Object.values<AnyStatement>(contextActivities)
      .flat()
      .every(({ id }) => isIri(id)),
    "2.4.6.2: context activities",
  );
  const { duration } = statement.result ?? {};
  must(duration === undefined || DURATION.test(duration), "4.6: the duration");
}

/** `0.000[.]12.000[,]14.000[.]21.000`; null for another text. */
export function parseSegments(text: unknown): [number, number][] | null {
  if (typeof text !== "string" || !/^\d+\.\d{3}\[\.\]\d+\.\d{3}(\[,\]\d+\.\d{3}\[\.\]\d+\.\d{3})*$/.test(text))
    return null;
  return text.split("[,]").map((segment) => segment.split("[.]").map(Number) as [number, number]);
}

/** What is wrong with statements in the order in which they arrived: the profile's pattern of a session, and registrations. */
export function checkOrder(statements: readonly AnyStatement[]): string[] {
  const problems: string[] = [];
  const sessions = new Map<string, AnyStatement[]>();
  const attempts = new Map<string, AnyStatement[]>();
  for (const statement of statements) {
    const session = extensionOf(statement, "context", "session-id");
    if (session !== undefined) sessions.set(session, [...(sessions.get(session) ?? []), statement]);
    const attempt = `${statement.context.registration} ${statement.actor.account.name} ${statement.object.id}`;
    attempts.set(attempt, [...(attempts.get(attempt) ?? []), statement]);
  }
  for (const [session, of] of sessions) {
    const verbs = of.map(verbOf);
    const wrong = (rule: string) => problems.push(`session ${session}: ${rule}: ${verbs.join(", ")}`);
    if (verbs.lastIndexOf("initialized") !== 0) wrong("begins with its only initialized");
    if (verbs.includes("terminated") && verbs.indexOf("terminated") !== verbs.length - 1)
      wrong("nothing after terminated");
    if (verbs.at(-1) === "terminated" && verbs.at(-2) !== "paused") wrong("paused before terminated");
    const times = of.map(({ timestamp }) => Date.parse(timestamp));
    if (times.some((time, i) => i > 0 && time < (times[i - 1] as number))) wrong("in the order of time");
    if (new Set(of.map(({ actor, object }) => `${actor.account.name} ${object.id}`)).size > 1)
      wrong("of one learner and file");
  }
  for (const [attempt, of] of attempts) {
    if (of.filter((statement) => verbOf(statement) === "completed").length > 1)
      problems.push(`${attempt}: completed twice`);
    const shares = of
      .map((statement) => extensionOf(statement, "result", "progress"))
      .filter((share) => share !== undefined);
    if (shares.some((share, i) => i > 0 && share < shares[i - 1]))
      problems.push(`${attempt}: progress falls: ${shares}`);
  }
  return problems;
}
