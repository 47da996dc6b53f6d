// A heat map of a histogram's buckets over time, a row for each bucket, as Grafana draws a query of `format: heatmap`: its
// own is no part of @grafana/ui.
import * as React from 'react';
import { colorManipulator, createTheme, dateTimeFormat, formattedValueToString, getValueFormat } from '@grafana/data';

const LEFT = 72, RIGHT = 8, TOP = 8, TIMES = 20, LEGEND = 26, SPACE_OF_A_TIME = 90;
const STEPS = 64;
const theme = createTheme({ colors: { mode: 'light' } });

/** The colour of a share of the greatest value: the panel's, the more opaque the more there is. */
const colour = ({ fill, exponent }, share) => colorManipulator.alpha(theme.visualization.getColorByName(fill), (Math.ceil(share * STEPS) / STEPS) ** exponent);

/** What is in each bucket alone, from series of what is in it and all below; the lowest bucket first. */
function buckets(frames) {
  const bound = (frame) => frame.fields[1].labels.le === '+Inf' ? Infinity : Number(frame.fields[1].labels.le);
  const sorted = [...frames].sort((one, other) => bound(one) - bound(other));
  return sorted.map((frame, index) => ({
    bound: bound(frame),
    times: frame.fields[0].values,
    counts: frame.fields[1].values.map((value, at) => value === null ? null : Math.max(0, value - (sorted[index - 1]?.fields[1].values[at] ?? 0))),
  }));
}

export function Heatmap({ frames, options, width, height, timeRange }) {
  const rows = buckets(frames);
  const floor = options.filterValues?.le ?? 0;
  const greatest = Math.max(...rows.flatMap(({ counts }) => counts), floor);
  const unit = getValueFormat(options.yAxis.unit);
  const label = (bound) => bound === Infinity ? '+Inf' : formattedValueToString(unit(bound));
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const plot = { width: width - LEFT - RIGHT, height: height - TOP - TIMES - (options.legend.show ? LEGEND : 0) };
  const x = (time) => LEFT + ((time - from) / (to - from)) * plot.width;
  const row = plot.height / rows.length;
  const cell = rows[0].times.length > 1 ? x(rows[0].times[1]) - x(rows[0].times[0]) : plot.width;
  const every = (to - from) / Math.max(1, Math.floor(plot.width / SPACE_OF_A_TIME));
  const times = Array.from({ length: Math.floor((to - from) / every) }, (_, index) => from + (index + 0.5) * every);
  return (
    <svg width={width} height={height} fontSize={11} fill="#555">
      {rows.map(({ bound, times, counts }, index) => {
        const top = TOP + plot.height - (index + 1) * row;
        return (
          <g key={bound}>
            <text x={LEFT - 6} y={top + 4} textAnchor="end">{label(bound)}</text>
            <line x1={LEFT} x2={width - RIGHT} y1={top} y2={top} stroke="#eee" />
            {counts.map((count, at) => count > floor && (
              <rect key={at} x={Math.max(LEFT, x(times[at]) - cell)} y={top} width={Math.max(1, cell - options.cellGap)} height={Math.max(1, row - options.cellGap)}
                fill={colour(options.color, count / greatest)} />
            ))}
          </g>
        );
      })}
      {times.map((time) => (
        <text key={time} x={x(time)} y={TOP + plot.height + 14} textAnchor="middle">{dateTimeFormat(time, { format: 'HH:mm:ss', timeZone: 'utc' })}</text>
      ))}
      {options.legend.show && Array.from({ length: STEPS }, (_, step) => (
        <rect key={step} x={LEFT + step * 3} y={height - 12} width={3} height={8} fill={colour(options.color, step / (STEPS - 1))} />
      ))}
      {options.legend.show && <text x={LEFT + STEPS * 3 + 6} y={height - 4}>{`to ${greatest.toFixed(1)}`}</text>}
    </svg>
  );
}
