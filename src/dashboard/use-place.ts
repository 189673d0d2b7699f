import { useEffect, useState } from "preact/hooks";

/** The part of the dashboard that is shown. It stands in the address, so that links and the Back button work. */
export type Place = { part: "courses"; course?: string; learner?: string } | { part: "streams"; stream?: string };
export type Part = Place["part"];

function readPlace(): Place {
  const query = new URLSearchParams(location.search);
  const [course, learner, stream] = [query.get("course"), query.get("learner"), query.get("stream")];
  if (query.get("part") === "streams") return { part: "streams", ...(stream ? { stream } : {}) };
  return { part: "courses", ...(course ? { course } : {}), ...(learner ? { learner } : {}) };
}

/** The dashboard opens at the courses, so their address does not name the part. */
export function toAddress(place: Place): string {
  const { part, ...rest } = place;
  const query = new URLSearchParams({ ...(part === "courses" ? {} : { part }), ...rest });
  return query.size === 0 ? "./" : `./?${query}`;
}

export function usePlace(): [Place, (place: Place) => void] {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const onBack = () => setPlace(readPlace());
    addEventListener("popstate", onBack);
    return () => removeEventListener("popstate", onBack);
  }, []);
  return [
    place,
    (next) => {
      history.pushState(null, "", toAddress(next));
      setPlace(next);
    },
  ];
}
