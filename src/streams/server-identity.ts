/*
 * A media server names itself, so its name alone proves nothing: the secret does, and a secret may be good for one kind
 * of media server only. So sessions belong to the kind and the name together, written as `srs:edge-1`. People see the name.
 */

export const SERVER_KINDS = ["rtmp", "nginx-rtmp", "srs", "mediamtx", "ovenmediaengine"] as const;
/** How a media server talks to Playhead: by sockets (`rtmp`), or by the hooks of its kind. */
export type ServerKind = (typeof SERVER_KINDS)[number];

/** The identity that sessions of this media server belong to. */
export function toServerIdentity(kind: ServerKind, name: string): string {
  return `${kind}:${name}`;
}

/** The name that the media server gave itself. */
export function toServerName(identity: string): string {
  const kind = SERVER_KINDS.find((one) => identity.startsWith(`${one}:`));
  return kind === undefined ? identity : identity.slice(kind.length + 1);
}

/** What may stand in a session of this media server: its identity, or its name alone where an older version wrote the session. */
export function toStoredServers(identity: string): string[] {
  const name = toServerName(identity);
  // A name that looks like an identity is one: that of another media server.
  return toServerName(name) === name ? [identity, name] : [identity];
}

/** Whether the session that says `stored` belongs to this media server. */
export function isOfServer(stored: string, identity: string): boolean {
  return stored === identity || toStoredServers(identity).includes(stored);
}
