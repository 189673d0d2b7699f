import { useEffect, useState } from "preact/hooks";

/** What the page shows, as its address says: a link to a learner can be kept, and Back goes back. */
export interface Place {
  course?: string;
  learner?: string;
}

function readPlace(): Place {
  const query = new URLSearchParams(location.search);
  const [course, learner] = [query.get("course"), query.get("learner")];
  return { ...(course ? { course } : {}), ...(learner ? { learner } : {}) };
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
      history.pushState(null, "", `?${new URLSearchParams({ ...next })}`);
      setPlace(next);
    },
  ];
}
