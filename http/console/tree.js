/* tree.js - a tree or a list that is walked by arrow keys, made of pages: a
 * level is asked for when it is opened, and more of it when its end is reached.
 *
 * A node is {label, kind, title, note, open(), id}: open() gives the first page of its
 * children, {nodes, more()}; more() the next page, null behind the last one. A
 * node without open() is a leaf. */
import { button, complain, fresh, h } from "./dom.js";

/* `pick(node)` is called when one is chosen. */
export function tree({ label, pick }) {
    const root = h("ul", { role: "tree", "aria-label": label, class: "tree" });
    const nodes = new WeakMap(); /* item -> node */
    let current = null;          /* the item that is in the order of Tab */

    const items = () => [...root.querySelectorAll('[role="treeitem"]')];
    const isOpen = item => item.getAttribute("aria-expanded") === "true";

    function enter(item, focus = true) {
        if (!item)
            return;
        current?.setAttribute("tabindex", "-1");
        current = item;
        item.setAttribute("tabindex", "0");
        if (focus)
            item.focus({ preventScroll: false });
    }

    function choose(item) {
        for (const other of root.querySelectorAll('[aria-selected="true"]'))
            other.setAttribute("aria-selected", "false");
        item.setAttribute("aria-selected", "true");
        enter(item);
        pick(nodes.get(item));
    }

    async function toggle(item, want = !isOpen(item)) {
        const node = nodes.get(item), group = item.nextElementSibling;
        if (!node.open || want === isOpen(item))
            return;
        item.setAttribute("aria-expanded", String(want));
        group.hidden = !want;
        if (!want || group.childElementCount > 0)
            return;
        item.setAttribute("aria-busy", "true");
        try {
            add(group, await node.open(), Number(item.getAttribute("aria-level")) + 1);
        } catch (error) {
            complain(error);
            item.setAttribute("aria-expanded", "false");
        }
        item.removeAttribute("aria-busy");
    }

    function itemOf(node, level) {
        const item = h("div", { role: "treeitem", tabindex: "-1", "aria-level": level,
            "aria-selected": "false", "aria-expanded": node.open ? "false" : null,
            id: fresh("node"), class: "line l" + Math.min(level, 12) },
        h("span", { class: "twist", "aria-hidden": "true" }, node.open ? "▸" : ""),
        node.kind && h("span", { class: "kind t-" + node.kind }, node.kind === "string" ?
            "str" : node.kind),
        h("span", { class: "label", title: node.title }, node.label),
        node.note && h("span", { class: "note-of" }, node.note));
        nodes.set(item, node);
        return h("li", { role: "none" }, item, node.open && h("ul",
            { role: "group", hidden: true }));
    }

    function add(group, page, level) {
        group.querySelector(":scope > .more")?.remove();
        const made = page.nodes.map(node => itemOf(node, level));
        group.append(...made);
        if (!current && made.length)
            enter(made[0].firstChild, false);
        if (page.more)
            group.append(h("li", { class: "more", role: "none" }, button(page.searched ?
                `${page.searched}; go on` : "More", async event => {
                event.target.disabled = true;
                try {
                    const last = group.querySelector(":scope > .more");
                    const before = last.previousElementSibling;
                    add(group, await page.more(), level);
                    const next = before ? before.nextElementSibling : group.firstChild;
                    enter((next?.matches(".more") ? before : next)?.firstChild);
                } catch (error) {
                    complain(error);
                    event.target.disabled = false;
                }
            }, { class: "plain" })));
    }

    root.addEventListener("click", event => {
        const item = event.target.closest('[role="treeitem"]');
        if (!item)
            return;
        if (nodes.get(item).open)
            toggle(item);
        choose(item);
    });
    root.addEventListener("keydown", event => {
        const item = event.target.closest('[role="treeitem"]');
        if (!item || event.target !== item || event.ctrlKey || event.altKey || event.metaKey)
            return;
        const seen = items().filter(one => !one.closest("[hidden]"));
        const at = seen.indexOf(item);
        const deeds = {
            ArrowDown: () => enter(seen[at + 1]),
            ArrowUp: () => enter(seen[at - 1]),
            Home: () => enter(seen[0]),
            End: () => enter(seen.at(-1)),
            ArrowRight: () => isOpen(item) ?
                enter(item.nextElementSibling.querySelector('[role="treeitem"]')) :
                toggle(item, true),
            ArrowLeft: () => isOpen(item) ? toggle(item, false) :
                enter(item.closest('[role="group"]')?.previousElementSibling),
            Enter: () => choose(item),
            " ": () => choose(item),
        };
        if (deeds[event.key]) {
            event.preventDefault();
            deeds[event.key]();
        }
    });
    return {
        root,
        show(page) {
            current = null;
            root.replaceChildren();
            add(root, page, 1);
        },
        /* Mark the node that is shown, if it is in sight. */
        mark(wanted) {
            for (const item of items())
                item.setAttribute("aria-selected", String(wanted(nodes.get(item))));
        },
    };
}
