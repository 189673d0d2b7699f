import { attachPlayer } from "./attach-player.ts";
import type { Player, PlayerOptions } from "./player-api.ts";

/*
 * Players that a page asks for in its markup, without code of its own:
 *
 *   <playhead-tracker file-id="lesson-1.mp4" token-url="/progress-token"><video src="…"></video></playhead-tracker>
 *   <video data-playhead-file-id="lesson-1.mp4" data-playhead-token-url="/progress-token" src="…"></video>
 *
 * The document is looked at again at every change, because pages put their players in, move and remove them later.
 */

const TRACKER = "playhead-tracker";
const DATA = "data-playhead-";
const SETTINGS = ["file-id", "token", "token-url", "server", "user-id", "resume"] as const;

type Settings = Partial<Record<(typeof SETTINGS)[number], string>>;

interface Tracked {
  /** The settings as a text, to tell whether they changed. */
  key: string;
  /** Null where the settings are wrong. */
  player: Player | null;
}

/**
 * Attaches players to the media of the markup, now and whenever the markup changes.
 * @param server the server where the markup names none
 * @returns finds the player of a media element
 */
export function followMarkup(server: string): (media: Element) => Player | null {
  const tracked = new Map<Element, Tracked>();

  function scan(): void {
    const found = new Map<HTMLMediaElement, Settings>();
    for (const element of document.querySelectorAll(`${TRACKER}, [${DATA}file-id]`)) {
      const media = toMedia(element);
      if (media) found.set(media, readSettings(element));
    }
    for (const [media, { key, player }] of tracked) {
      if (key === JSON.stringify(found.get(media as HTMLMediaElement))) continue;
      tracked.delete(media);
      void player?.close();
    }
    for (const [media, settings] of found)
      if (!tracked.has(media)) tracked.set(media, { key: JSON.stringify(settings), player: attach(media, settings) });
  }

  function attach(media: HTMLMediaElement, settings: Settings): Player | null {
    try {
      const player = attachPlayer(media, { ...toOptions(settings, server), resume: settings.resume !== "false" });
      player.on("progress", (progress) => tell(media, "progress", progress));
      player.on("state", (state) => tell(media, "state", state));
      player.on("error", (error) => tell(media, "error", error));
      return player;
    } catch (error) {
      // The console shows it. The other players of the page go on.
      reportError(error);
      return null;
    }
  }

  new MutationObserver(scan).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter });
  scan();
  return (media) => tracked.get(media)?.player ?? null;
}

const attributeFilter = ["for", "id", ...SETTINGS, ...SETTINGS.map((name) => DATA + name)];

/** The element itself, the one that the tracker names by `for`, or the first one inside. */
function toMedia(element: Element): HTMLMediaElement | null {
  if (element instanceof HTMLMediaElement) return element;
  const id = element.getAttribute("for");
  const media = id ? document.getElementById(id) : element.querySelector("video, audio");
  return media instanceof HTMLMediaElement ? media : null;
}

function readSettings(element: Element): Settings {
  const prefix = element.localName === TRACKER ? "" : DATA;
  const given = SETTINGS.map((name) => [name, element.getAttribute(prefix + name)] as const);
  return Object.fromEntries(given.filter(([, value]) => value));
}

/** @throws TypeError where a setting is missing */
function toOptions(settings: Settings, server: string): PlayerOptions {
  const { "file-id": fileId, "token-url": tokenUrl, "user-id": userId, token } = settings;
  if (!fileId) throw new TypeError("playhead: expected the attribute file-id, the id of the file in the catalogue");
  if (!token && !tokenUrl)
    throw new TypeError(`playhead: expected the attribute token-url or token for the file ${fileId}`);
  return {
    url: settings.server ?? server,
    token: tokenUrl ? () => readToken(tokenUrl) : (token as string),
    fileId,
    ...(userId && { userId }),
  };
}

/** The answer is the token, or JSON with a field `token`. */
async function readToken(tokenUrl: string): Promise<string> {
  try {
    const answer = await fetch(tokenUrl);
    const text = await answer.text();
    if (!answer.ok || text.trimStart().startsWith("<"))
      throw new Error(
        `playhead: expected a token from ${tokenUrl}; it answered ${answer.status}: ${text.slice(0, 80)}`,
      );
    return text.trimStart().startsWith("{") ? (JSON.parse(text) as { token: string }).token : text.trim();
  } catch (error) {
    // The player only tries again. The console shows what is wrong.
    reportError(error);
    throw error;
  }
}

function tell(media: HTMLMediaElement, name: string, detail: unknown): void {
  media.dispatchEvent(new CustomEvent(`playhead-${name}`, { bubbles: true, detail }));
}
