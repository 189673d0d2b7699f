#!/usr/bin/env python3
"""Playhead over HTTP alone, with nothing but Python's standard library (3.9 or newer).

For players that cannot keep a WebSocket: beats go to POST /v1/heartbeats, progress is read from GET /v1/progress.
Beats wait in a file until the server has acked them, so neither a lost connection nor a restart loses one.

    client = Playhead("http://127.0.0.1:8080", token, "beats.json")
    client.beat("demo-intro", position=8, played=[[0, 8]])   # queued on disk
    client.send(patience=30)                                 # sent, and tried again for up to 30 s
    print(client.progress("demo-intro")["percentage"])
"""

import argparse
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

# The server takes at most 100 beats and 64 KB in one request.
MAX_BEATS = 100
MAX_BODY_BYTES = 60_000
# The server takes no beat that is older.
MAX_AGE_MS = 30 * 24 * 3600 * 1000
# A repeat cannot change these answers, so the beat is given up.
FINAL_CODES = {"bad_request", "unknown_file", "not_found", "forbidden", "conflict"}
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class Refused(Exception):
    """The server refused the request as a whole. `code` is one of docs/errors.md."""

    def __init__(self, problem, status):
        super().__init__(problem.get("detail") or f"HTTP status {status}")
        self.code = problem.get("code", "unavailable" if status >= 500 else "bad_request")
        self.retry_after_s = problem.get("retryAfterMs", 0) / 1000


class Offline(Exception):
    """The server could not be reached, or its answer was lost. It may or may not have stored what was sent."""


class Playhead:
    """One player: a token, a queue of beats, and a session whose beats are numbered."""

    def __init__(self, url, token, queue_path, timeout=10):
        self.url = url.rstrip("/")
        self.token = token
        self.queue_path = queue_path
        self.timeout = timeout
        kept = self._load()
        self.beats = kept["beats"]
        # The session and its numbers go on after a restart: a beat that was stored already is then not counted twice.
        self.session_id = kept["session_id"]
        self.seq = kept["seq"]
        self.epochs = kept["epochs"]

    def beat(self, file_id, position, played=(), state="playing"):
        """Queues a beat: the position now, and the [from, to] parts that really played since the last beat."""
        self.seq += 1
        body = {
            "fileId": file_id,
            "position": position,
            "played": [list(part) for part in played],
            "state": state,
            "sessionId": self.session_id,
            "seq": self.seq,
        }
        if file_id in self.epochs:
            body["epoch"] = self.epochs[file_id]
        self.beats.append({"seen_at": time.time(), "body": body})
        self._save()

    def send(self, patience=0.0):
        """Sends the queue, the oldest beat first, and tries again for `patience` seconds.

        Returns how many beats still wait. Raises Refused if the token is refused: a repeat needs another token.
        """
        give_up_at = time.monotonic() + patience
        wait = FIRST_WAIT_S
        while self.beats:
            try:
                least = self._send_once()
                if least is None:
                    wait = FIRST_WAIT_S
                    continue
            except Offline:
                least = 0.0
            except Refused as refusal:
                if refusal.code in FINAL_CODES or refusal.code == "unauthenticated":
                    raise
                least = refusal.retry_after_s
            # Jitter, so that the players of an outage do not come back all at once.
            pause = max(least, wait * random.uniform(0.5, 1.0))
            if time.monotonic() + pause > give_up_at:
                break
            time.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT_S)
        return len(self.beats)

    def progress(self, file_id):
        """Reads the caller's progress in a file: where to resume (`resumeAt`), `percentage`, `completed` and more."""
        progress = self._call("GET", "/v1/progress/files/" + urllib.parse.quote(file_id, safe=""))
        self._note_epoch(progress)
        return progress

    def _send_once(self):
        """Sends one request. Returns None, or in how many seconds the server wants the beats that it could not take."""
        batch = self._next_batch()
        answer = self._call("POST", "/v1/heartbeats", {"beats": [to_wire(kept) for kept in batch]})
        again = []
        least = None
        for kept, result in zip(batch, answer["results"]):
            if result["ok"]:
                self._note_epoch(result["progress"])
            elif result["error"]["code"] in FINAL_CODES:
                print(f"given up: {result['error']['message']}", file=sys.stderr)
            else:
                again.append(kept)
                least = max(least or 0.0, result["error"].get("retryAfterMs", 0) / 1000)
        self.beats = again + self.beats[len(batch) :]
        self._save()
        return least

    def _next_batch(self):
        batch, size = [], 0
        for kept in self.beats[:MAX_BEATS]:
            size += len(json.dumps(kept["body"])) + 30
            if batch and size > MAX_BODY_BYTES:
                break
            batch.append(kept)
        return batch

    def _note_epoch(self, progress):
        """A reset raises the epoch. Beats of a lower one that still wait will be acked without effect."""
        file_id, epoch = progress["fileId"], progress["epoch"]
        if epoch > self.epochs.get(file_id, -1):
            self.epochs[file_id] = epoch
            self._save()

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.token}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:
                problem = {}  # a proxy in between answered
            raise Refused(problem, error.code) from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # also of an answer that was cut off
            raise Offline(str(error)) from error

    def _load(self):
        try:
            with open(self.queue_path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {"session_id": str(uuid.uuid4()), "seq": 0, "epochs": {}, "beats": []}

    def _save(self):
        """Replaces the file as a whole: a crash leaves the old one or the new one."""
        state = {"session_id": self.session_id, "seq": self.seq, "epochs": self.epochs, "beats": self.beats}
        part = f"{self.queue_path}.part"
        with open(part, "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.queue_path)


def to_wire(kept):
    """The beat as it is sent now. Its number and content stay; its age is computed anew at every send."""
    age_ms = round((time.time() - kept["seen_at"]) * 1000)
    return {**kept["body"], "ageMs": min(max(age_ms, 0), MAX_AGE_MS)}


def main():
    parser = argparse.ArgumentParser(description="Sends beats to Playhead and reads progress, over HTTP alone.")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--token", default=os.environ.get("PLAYHEAD_TOKEN"), help="or PLAYHEAD_TOKEN")
    parser.add_argument("--queue", default="beats.json", help="the file in which beats wait")
    parser.add_argument("--patience", type=float, default=0.0, help="for how many seconds to try again")
    commands = parser.add_subparsers(dest="command", required=True)
    played = commands.add_parser("played", help="queue the part of a file that played, and send the queue")
    played.add_argument("file")
    played.add_argument("start", type=float)
    played.add_argument("end", type=float)
    commands.add_parser("send", help="send the queue")
    progress = commands.add_parser("progress", help="print the progress in a file as JSON")
    progress.add_argument("file")
    given = parser.parse_args()
    if not given.token:
        parser.error("give a token by --token or PLAYHEAD_TOKEN")

    client = Playhead(given.url, given.token, given.queue)
    try:
        if given.command == "progress":
            print(json.dumps(client.progress(given.file)))
            return 0
        if given.command == "played":
            client.beat(given.file, given.end, [[given.start, given.end]])
        waiting = client.send(given.patience)
    except (Refused, Offline) as error:
        print(f"{type(error).__name__.lower()}: {error}", file=sys.stderr)
        return 1
    print(f"{waiting} beats wait")
    return 0


if __name__ == "__main__":
    sys.exit(main())
