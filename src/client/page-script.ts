import { type AttachOptions, attachPlayer } from "./attach-player.ts";
import { createDashboard, type DashboardOptions } from "./dashboard.ts";
import { followMarkup } from "./page-markup.ts";
import { createPlayer } from "./player.ts";
import type { PlayerOptions } from "./player-api.ts";
import { extrapolatePosition } from "./topic-state.ts";

/*
 * The entry of /client/playhead.js, which a page loads by a script tag, as a module or not. It follows the markup, and puts
 * the library into the global `playhead`. The server is the one that the script came from.
 */

const PATH = "/client/playhead.js";
const script = document.querySelector<HTMLScriptElement>(`script[src*="${PATH}"]`);
const url = script ? script.src.slice(0, script.src.indexOf(PATH)) : location.origin;

const playhead = {
  attachPlayer: (media: HTMLMediaElement, options: AttachOptions) => attachPlayer(media, { url, ...options }),
  createPlayer: (options: PlayerOptions) => createPlayer({ url, ...options }),
  createDashboard: (options: DashboardOptions) => createDashboard({ url, ...options }),
  extrapolatePosition,
  /** The player that the markup gave a media element; null where it has none. */
  playerOf: followMarkup(url),
};

/** What the script puts into the global `playhead`. */
export type PageScript = typeof playhead;

Object.assign(globalThis, { playhead });
