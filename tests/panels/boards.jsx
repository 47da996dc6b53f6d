// Draws a dashboard with Grafana's own components and data of a real Prometheus: `?prometheus=URL&board=FILE&app=A&slot=0`,
// and `&skip=PIXELS` to begin further down.
import * as React from 'react';
import { createRoot } from 'react-dom/client';
import {
  FieldConfigOptionsRegistry, FieldType, ThemeContext, applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, getFieldDisplayValues,
  standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueTextMode, GlobalStyles, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { Heatmap } from './heatmap.jsx';

const asked = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: 'light' } });
const minutes = Number(asked.get('minutes') ?? 10);
const end = Math.floor(Date.now() / 1000);
const start = end - minutes * 60;
const step = Math.max(5, Math.ceil((minutes * 60) / 150));
const timeRange = { from: dateTime(start * 1000), to: dateTime(end * 1000), raw: { from: 'now-10m', to: 'now' } };
const variables = { job: '.+', instance: '.+', app: asked.get('app') ?? '.+', slot: asked.get('slot') ?? '0', __rate_interval: '1m' };
const WIDTH = 1500, CELL = 36, GAP = 8;

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((one) => ({ id: one.id, name: one.name, transformation: one, editor: () => null })));

const registry = new FieldConfigOptionsRegistry();
const option = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path, path, isCustom, name: path, defaultValue: undefined, settings: {}, editor: () => null,
  override: () => null, process: (value) => value, shouldApply: () => true, getItemsCount: () => 0,
});
['unit', 'min', 'max', 'decimals', 'noValue', 'displayName', 'color', 'thresholds', 'mappings', 'links'].forEach((it) => registry.register(option(it, false)));
['drawStyle', 'lineWidth', 'fillOpacity', 'showPoints', 'spanNulls', 'stacking', 'axisSoftMin', 'axisSoftMax', 'axisPlacement', 'axisLabel',
  'lineStyle', 'align', 'filterable', 'minWidth', 'width'].forEach((it) => registry.register(option(it, true)));

const filled = (text) => Object.entries(variables).reduce((sum, [name, value]) => sum.replaceAll(`$${name}`, value), text);

async function ask(target) {
  const query = new URLSearchParams({ query: filled(target.expr) });
  if (target.instant) query.set('time', end);
  else Object.entries({ start, end, step }).forEach(([name, value]) => query.set(name, value));
  const path = target.instant ? 'query' : 'query_range';
  const answer = await (await fetch(`${asked.get('prometheus')}/api/v1/${path}?${query}`)).json();
  if (answer.status !== 'success') throw new Error(`${target.expr}: ${answer.error}`);
  return answer.data.result;
}

const named = (legend, labels) => legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');

function series(target, found) {
  return found.map(({ metric, values }) => {
    const samples = new Map(values.map(([at, value]) => [at, Number(value)]));
    const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, index) => start + index * step);
    const name = target.legendFormat ? named(target.legendFormat, metric) : undefined;
    return toDataFrame({
      refId: target.refId, name,
      fields: [
        { name: 'Time', type: FieldType.time, values: times.map((at) => at * 1000), config: {} },
        { name: 'Value', type: FieldType.number, labels: metric, values: times.map((at) => samples.get(at) ?? null), config: name ? { displayNameFromDS: name } : {} },
      ],
    });
  });
}

function rows(target, found, single) {
  const labels = [...new Set(found.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const field = (name, type, values) => ({ name, type, values, config: {} });
  return toDataFrame({
    refId: target.refId,
    fields: [
      field('Time', FieldType.time, found.map(({ value }) => value[0] * 1000)),
      ...labels.map((label) => field(label, FieldType.string, found.map(({ metric }) => metric[label] ?? ''))),
      field(single ? 'Value' : `Value #${target.refId}`, FieldType.number, found.map(({ value }) => Number(value[1]))),
    ],
  });
}

async function frames(panel) {
  const answers = await Promise.all(panel.targets.map(ask));
  const table = panel.type === 'table';
  const raw = answers.flatMap((found, index) => table ? [rows(panel.targets[index], found, answers.length === 1)] : series(panel.targets[index], found));
  const data = table ? await new Promise((done) => transformDataFrame(panel.transformations ?? [], raw).subscribe(done)) : raw;
  const defaults = { color: { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' }, ...panel.fieldConfig.defaults };
  const overridden = applyFieldOverrides({
    data, theme, timeZone: 'utc', fieldConfig: { defaults, overrides: panel.fieldConfig.overrides }, fieldConfigRegistry: registry, replaceVariables: filled,
  });
  cacheFieldDisplayNames(overridden);
  return overridden;
}

function Drawn({ panel, data, width, height }) {
  const absent = <div className="absent">{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;
  if (panel.type === 'stat') {
    const values = getFieldDisplayValues({
      fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: filled, theme, data, sparkline: true, timeZone: 'utc',
    });
    return values.slice(0, 1).map(({ display, sparkline }) => (
      <BigValue key="value" theme={theme} width={width} height={height} value={data.length ? display : { numeric: NaN, text: panel.fieldConfig.defaults.noValue }}
        sparkline={data.length ? sparkline : undefined} colorMode={BigValueColorMode.Value} textMode={BigValueTextMode.Value} graphMode={panel.options.graphMode === 'area' ? BigValueGraphMode.Area : BigValueGraphMode.None} />
    ));
  }
  if (!data.length || data.every((frame) => frame.length === 0)) return absent;
  if (panel.type === 'heatmap') return <Heatmap frames={data} options={panel.options} width={width} height={height} timeRange={timeRange} />;
  if (panel.type === 'table') {
    const sortBy = panel.options.sortBy.map(({ displayName, desc }) => ({ displayName, desc }));
    return <TableNG data={data[0]} width={width} height={height} initialSortBy={sortBy} timeRange={timeRange} />;
  }
  return <TimeSeries frames={data} width={width} height={height} timeRange={timeRange} timeZone="utc" legend={panel.options.legend} />;
}

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  render() { return this.state.error ? <div className="absent">{String(this.state.error.stack)}</div> : this.props.children; }
}

function Panel({ panel, data }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (WIDTH - GAP) / 24;
  const place = { position: 'absolute', left: GAP + x * column, top: GAP + y * CELL, width: w * column - GAP, height: h * CELL - GAP };
  if (panel.type === 'row') return <h3 style={place}>{panel.title}</h3>;
  return (
    <section style={place}>
      <h4>{panel.title}</h4>
      <Guard><Drawn panel={panel} data={data} width={place.width - 16} height={place.height - 36} /></Guard>
    </section>
  );
}

async function main() {
  const board = await (await fetch(asked.get('board'))).json();
  const drawn = await Promise.all(board.panels.map(async (panel) => [panel, panel.type === 'row' ? [] : await frames(panel)]));
  const height = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL + GAP;
  createRoot(document.getElementById('board')).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'relative', width: WIDTH, height, marginTop: -Number(asked.get('skip') ?? 0) }}>{drawn.map(([panel, data]) => <Panel key={panel.id} panel={panel} data={data} />)}</div>
    </ThemeContext.Provider>,
  );
}

main().catch((error) => { document.body.textContent = error.stack; });
