/* page.js - a view that is one table: read, shown, read again from time to time
 * while nobody is at work in it. */
import { button, h, problem, tried } from "./dom.js";

/* read(): [words, element]; tools(again): buttons; every_ms: how often. */
export function page(title, { read, tools, every_ms, about }) {
    return main => {
        const words = h("span", { class: "soft", role: "status" }), body = h("div");
        let open = true, reading = false, last = "";
        async function again() {
            if (reading)
                return;
            reading = true;
            try {
                const [text, element] = await read(again);
                /* What is the same stays, with the focus in it. */
                if (open && (element.textContent !== last || last === "")) {
                    last = element.textContent;
                    body.replaceChildren(element);
                }
                words.textContent = text;
            } catch (error) {
                last = "";
                body.replaceChildren(h("div", { class: "body" }, problem(error)));
            }
            reading = false;
        }
        main.append(h("section", { class: "card" },
            h("header", null, h("h1", null, title), words, h("span", { class: "grow" }),
                h("div", { class: "row" }, button("Read again", tried(again)), tools?.(again))),
            about ? h("p", { class: "empty" }, about) : null, body));
        again();
        const timer = setInterval(() => {
            if (!document.hidden && !body.contains(document.activeElement) &&
                document.querySelector("dialog[open]") === null)
                again();
        }, every_ms);
        return () => {
            open = false;
            clearInterval(timer);
        };
    };
}
