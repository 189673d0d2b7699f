import { useEffect, useState } from "preact/hooks";

/** What the page shows, as its address says: a link to a learner can be kept, and Back goes back. */
export type Place = { part: "courses"; course?: string; learner?: string } | { part: "streams"; stream?: string };
export type Part = Place["part"];

function readPlace(): Place {
  const query = new URLSearchParams(location.search);
  const [course, learner, stream] = [query.get("course"), query.get("learner"), query.get("stream")];
  if (query.get("part") === "streams") return { part: "streams", ...(stream ? { stream } : {}) };
  return { part: "courses", ...(course ? { course } : {}), ...(learner ? { learner } : {}) };
}

/** The courses have no name in the address: that is where the dashboard opens. */
export function toAddress(place: Place): string {
  const { part, ...rest } = place;
  const query = new URLSearchParams({ ...(part === "courses" ? {} : { part }), ...rest });
  return query.size === 0 ? "/" : `/?${query}`;
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
