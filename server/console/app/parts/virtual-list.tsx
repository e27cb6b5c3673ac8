// A long list of which only the rows in view are in the document, so that 100,000 rows cost as much
// as a screen of them. Rows have one height; the page itself scrolls. The rest of the list is told
// to assistive technology by the number of each row.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { limits } from '../limits.js';

interface Props<T> {
  readonly label: string;
  readonly rows: readonly T[];
  readonly rowKey: (row: T) => string;
  readonly rowPixels: number;
  readonly head: readonly string[];
  readonly cells: (row: T) => readonly ComponentChildren[];
  readonly hasMore: boolean;
  readonly more: () => void;
  /** The rows in view, for reading only these again. */
  readonly onView: (first: number, last: number) => void;
}

export function VirtualList<T>(props: Props<T>) {
  const { label, rows, rowKey, rowPixels, head, cells, hasMore, more, onView } = props;
  const body = useRef<HTMLDivElement>(null);
  const [first, last] = useRowsInView(body, rowPixels, rows.length);
  useEffect(() => onView(first, last), [first, last, onView]);
  useEffect(() => {
    if (hasMore && last >= rows.length - limits.overscanRowsCount) more();
  }, [hasMore, last, rows.length, more]);
  const drawn = rows.slice(first, last + 1);
  return (
    <div
      class="virtual"
      role="table"
      aria-label={label}
      aria-rowcount={hasMore ? -1 : rows.length + 1}
    >
      <div role="rowgroup">
        <div role="row" class="row head" aria-rowindex={1}>
          {head.map((title) => (
            <span key={title} role="columnheader">
              {title}
            </span>
          ))}
        </div>
      </div>
      <div
        ref={body}
        role="rowgroup"
        class="body"
        style={{ height: `${rows.length * rowPixels}px` }}
      >
        {drawn.map((row, index) => (
          <div
            key={rowKey(row)}
            role="row"
            class="row"
            aria-rowindex={first + index + 2}
            style={{ top: `${(first + index) * rowPixels}px`, height: `${rowPixels}px` }}
          >
            {cells(row).map((cell, at) => (
              <span key={head[at]} role="cell">
                {cell}
              </span>
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}

/** Indexes of the first and the last row that are drawn. */
function useRowsInView(
  body: { readonly current: HTMLElement | null },
  rowPixels: number,
  count: number,
): readonly [number, number] {
  const [range, setRange] = useState<readonly [number, number]>([0, limits.overscanRowsCount * 3]);
  useLayoutEffect(() => {
    const look = (): void => {
      const top = body.current?.getBoundingClientRect().top ?? 0;
      const firstInView = Math.floor(-top / rowPixels);
      const lastInView = Math.ceil((innerHeight - top) / rowPixels);
      const first = Math.max(0, Math.min(count - 1, firstInView - limits.overscanRowsCount));
      const last = Math.max(0, lastInView + limits.overscanRowsCount);
      setRange((before) => (before[0] === first && before[1] === last ? before : [first, last]));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [body, rowPixels, count]);
  return range;
}
