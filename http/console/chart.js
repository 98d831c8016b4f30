/* chart.js - lines over time, drawn as SVG. A chart is read by the eye, by the
 * pointer and arrow keys (a line that says the values of one moment), and as a
 * sentence by who cannot see it. */
import { h, s } from "./dom.js";

const WIDTH = 480, HEIGHT = 132, TOP = 8, BOTTOM = 18;
const DEPTH = HEIGHT - TOP - BOTTOM;

/* The least of 1, 2, 5 times a power of ten that is not below; for bytes of 1, 2,
 * 4, 8 .. times a power of 1024. */
function ceiling(value, binary) {
    if (binary)
        return 2 ** Math.ceil(Math.log2(value || 1));
    const power = 10 ** Math.floor(Math.log10(value || 1));
    const unit = value / power;
    return power * (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10);
}

/* A chart of `span` points of one distance in time. series: [{name, pick(point),
 * area}]; `show` says a value; `step_ms` lies between two points. */
export function chart({ title, series, show, span, step_ms, floor = 1, binary = false }) {
    let points = [], top = floor, at = null;
    const lines = series.map((_, i) => s("path", { class: "line c" + i }));
    const areas = series.map((one, i) =>
        one.area ? s("path", { class: "area c" + i }) : null);
    const grid = s("g", { class: "grid" });
    const cross = s("line", { class: "cross", y1: TOP, y2: TOP + DEPTH, hidden: true });
    const values = series.map((one, i) => h("span", { class: "value" }, "–"));
    const when = h("span", { class: "when" });
    const svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
        "aria-hidden": "true" }, grid, areas, lines, cross);
    const said = h("span", { class: "unseen" });
    const labels = [0, 1, 2].map(() => h("span", { class: "tick" }));
    const plot = h("div", { class: "plot", tabindex: "0", role: "img",
        "aria-label": title }, svg, labels,
    h("span", { class: "from" }, `−${Math.round(span * step_ms / 60000)} min`),
    h("span", { class: "to" }, "now"));
    const box = h("section", { class: "card chart", "aria-label": title },
        h("header", null, h("h2", null, title), when,
            h("ul", { class: "legend" }, series.map((one, i) =>
                h("li", null, h("i", { class: "key c" + i, "aria-hidden": "true" }),
                    one.name, " ", values[i])))), plot, said);

    const x = i => WIDTH * (i + span - points.length) / (span - 1);
    const y = value => TOP + DEPTH * (1 - value / top);

    function path(pick, closed) {
        let out = "", open = false, first = 0, last = 0;
        points.forEach((point, i) => {
            const value = pick(point);
            if (value === null)
                return;
            out += (open ? "L" : "M") + x(i).toFixed(1) + " " + y(value).toFixed(1);
            first = open ? first : x(i);
            last = x(i);
            open = true;
        });
        return closed && open ?
            `${out}L${last} ${TOP + DEPTH}L${first} ${TOP + DEPTH}Z` : out;
    }

    function tell() {
        const point = points[at ?? points.length - 1];
        series.forEach((one, i) => {
            const value = point ? one.pick(point) : null;
            values[i].textContent = value === null ? "–" : show(value);
        });
        const ago = at === null ? 0 : (points.length - 1 - at) * step_ms / 1000;
        when.textContent = ago ? `${ago} s ago` : "";
        cross.toggleAttribute("hidden", at === null);
        if (at !== null) {
            cross.setAttribute("x1", x(at));
            cross.setAttribute("x2", x(at));
        }
        plot.setAttribute("aria-label", title + (ago ? `, ${ago} seconds ago` : "") +
            ": " + series.map((one, i) => one.name + " " + values[i].textContent)
            .join(", "));
    }

    function draw() {
        const most = Math.max(floor, ...points.flatMap(point =>
            series.map(one => one.pick(point) ?? 0)));
        top = ceiling(most, binary);
        grid.replaceChildren(...[0, 0.5, 1].map(part => s("line", { x1: 0,
            x2: WIDTH, y1: y(top * part), y2: y(top * part) })));
        labels.forEach((label, i) => { label.textContent = show(top * (2 - i) / 2); });
        series.forEach((one, i) => {
            lines[i].setAttribute("d", path(one.pick, false));
            areas[i]?.setAttribute("d", path(one.pick, true));
        });
        tell();
    }

    const look = index => {
        at = index === null || index >= points.length - 1 ? null : Math.max(0, index);
        tell();
    };
    plot.addEventListener("pointermove", event => {
        const { left, width } = svg.getBoundingClientRect();
        look(Math.round((event.clientX - left) / width * (span - 1)) -
            span + points.length);
    });
    plot.addEventListener("pointerleave", () => look(null));
    plot.addEventListener("blur", () => look(null));
    plot.addEventListener("keydown", event => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by === undefined)
            return;
        event.preventDefault();
        look((at ?? points.length - 1) + by);
    });
    return { box, update(fresh) { points = fresh; draw(); } };
}
