import type { HttpRequest, HttpResponse, RecognizedString, TemplatedApp } from "./uws.ts";

/*
 * uWebSockets.js hands over all requests of a read of the socket in one turn, as long as each is answered at once. Where the
 * answer comes in a later turn it closes the connection at the next request. So the handlers of others, such as Engine.IO's,
 * are made to answer later.
 */

/** The handler of a route, or of the requests that become WebSockets. */
type Handler<Rest extends unknown[]> = (res: HttpResponse, req: HttpRequest, ...rest: Rest) => void | Promise<void>;

/** Has all HTTP handlers that `attach` adds to the app answer in the turn after the one in which they end a response. */
export function answerLater(app: TemplatedApp, attach: () => void): void {
  const { any, ws } = app;
  app.any = ((pattern, handler) => any.call(app, pattern, endingLater(handler))) as TemplatedApp["any"];
  app.ws = ((pattern, behavior) =>
    ws.call(app, pattern, {
      ...behavior,
      ...(behavior.upgrade && { upgrade: endingLater(behavior.upgrade) }),
    } as Parameters<TemplatedApp["ws"]>[1])) as TemplatedApp["ws"];
  attach();
  Object.assign(app, { any, ws });
}

function endingLater<Rest extends unknown[]>(handler: Handler<Rest>): Handler<Rest> {
  return (res, req, ...rest) => {
    endLater(res);
    return handler(res, req, ...rest);
  };
}

function endLater(res: HttpResponse): void {
  const end = res.end.bind(res);
  const onAborted = res.onAborted.bind(res);
  let isGone = false;
  let listener: (() => void) | null = null;
  onAborted(() => {
    isGone = true;
    listener?.();
  });
  res.onAborted = (added) => {
    listener = added;
    return res;
  };
  res.end = (body?: RecognizedString, closeConnection?: boolean) => {
    listener = null; // for the handler the response is over
    setImmediate(() => {
      if (!isGone) res.cork(() => end(body, closeConnection));
    });
    return res;
  };
}
