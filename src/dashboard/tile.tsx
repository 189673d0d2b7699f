/** One number with its name, for a `<dl class="tiles">`. */
export function Tile({ name, value, isLive = false }: { name: string; value: string; isLive?: boolean }) {
  return (
    <div class={isLive ? "tile live" : "tile"}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
