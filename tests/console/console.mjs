// console.mjs - scenes of the console, each by itself on one server.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { ask, axe, check, command, fail, launch, open, result, serve, standing, texts, until,
    write } from "./stage.mjs";

const VIEWS = ["overview", "keys?key=user:1", "keys?key=board", "keys?key=doc", "keys?folder=user:",
    "sql?run=1&q=SELECT%20*%20FROM%20hashes", "slow", "clients", "config", "snapshots"];
const SHOTS = process.env.SHOTS, SCENES = process.env.SCENES?.split(" ");
const blob = text => ({ $base64: Buffer.from(text, "latin1").toString("base64") });

async function data(server) {
    await write(server,
        ["HSET", "user:1", "name", "Ann", "city", "Oslo"], ["HSET", "user:2", "name", "Bob"],
        ["ZADD", "board", "310", "user:1", "275.5", "user:2", "120", "user:3"],
        ["RPUSH", "todo", "one", "two", "three"], ["SADD", "tags", "red", "green"],
        ["SET", "doc", '{"a":[1,{"b":null}],"big":12345678901234567890}'],
        ["SET", "session:x", "1", "EX", "5000"],
        ["SET", blob("\xff\x00key"), blob("\x00\x01\xfe")]);
    await write(server, ...Array.from({ length: 2500 }, (_, i) =>
        ["SET", `many:${String(i).padStart(4, "0")}:x`, "v" + i]));
    await write(server, ["RPUSH", "long", ...Array.from({ length: 250 }, (_, i) => "e" + i)]);
}

// ---- scenes --------------------------------------------------------------------

async function overview({ page, server }) {
    await page.at("overview");
    await page.locator("#state.live").waitFor();
    for (let i = 0; i < 200; i++)
        await command(server, "GET", "doc");
    const plot = page.locator('.plot[aria-label^="Operations"]');
    await until(async () => (await plot.locator("path.line.c0").getAttribute("d") ?? "")
        .includes("L"), "a line is drawn");
    check("figures", (await texts(page.locator(".figure .title"))).length, 8);
    check("keys are counted", await page.locator(".figure strong").first().textContent(),
        Number(await command(server, "DBSIZE")).toLocaleString("en-US"));
    await plot.focus();
    await page.keyboard.press("ArrowLeft");
    check("a chart is read by arrows", /^Operations per second, \d+ seconds ago: commands/
        .test(await plot.getAttribute("aria-label")), true);
    await page.locator("td", { hasText: /^GET$/ }).waitFor();
    check("commands are listed", true, true);
}

async function tree({ page }) {
    await page.at("keys");
    const items = page.locator('[role="tree"] > [role="none"] > [role="treeitem"]');
    await items.first().waitFor();
    check("names in order, folded at the colon", (await texts(items.locator(".label"))),
        ["board", "doc", "long", "many:", "session:", "tags", "todo", "user:",
            "keys that are no text"]);
    check("how many stand below", await items.nth(3).locator(".note-of").textContent(),
        "2,500");
    await items.nth(3).click();
    const group = page.locator('[role="group"]').filter({ hasText: "0001:" });
    const below = group.locator('[role="treeitem"]');
    await until(async () => await below.count() === 200, "a page of names");
    await group.locator(".more button").click();
    await until(async () => await below.count() === 400, "the next page");
    check("pages follow each other", await below.nth(200).locator(".label").textContent(),
        "0200:");
    check("a folder tells of itself", await page.locator(".about h2").textContent(), "many:");
    await page.getByRole("button", { name: "Count and measure" }).click();
    check("and what it holds", await page.locator(".pane tbody td").first().textContent(),
        "string");
    await page.getByLabel("Beginning or pattern").fill("user:*");
    await page.keyboard.press("Enter");
    await until(async () => (await texts(items.locator(".label"))).join() ===
        "user:1,user:2", "a pattern finds");
    await page.getByLabel("Beginning or pattern").fill("");
    await page.getByLabel("Type").selectOption("zset");
    await until(async () => (await texts(items.locator(".label"))).join() === "board",
        "a type finds");
    check("what is looked for is in the address", page.url().includes("type=zset"), true);
}

// Press a button of the dialog and wait for its end.
async function confirm(page, name) {
    await page.locator("dialog").getByRole("button", { name, exact: true }).click();
    await page.locator("dialog").waitFor({ state: "detached" });
}

async function edits({ page, server }) {
    await page.at("keys?key=user:1");
    await page.getByRole("button", { name: "Edit city" }).click();
    await page.getByLabel("Value", { exact: true }).fill("Bergen");
    await confirm(page, "Save");
    check("a field is changed", await command(server, "HGETALL", "user:1"),
        ["city", "Bergen", "name", "Ann"]);
    await page.getByRole("button", { name: "Add…" }).click();
    await page.getByLabel("Field", { exact: true }).fill("bytes");
    await page.getByLabel("Value", { exact: true }).fill("\\x00\\xff");
    await page.locator("dialog").getByLabel("with escapes").nth(1).check();
    await confirm(page, "Save");
    check("bytes are typed", (await ask(server, "GET", "/v1/hashes/user:1")).bytes,
        { $base64: "AP8=" });
    await page.getByRole("button", { name: "Edit bytes" }).click();
    await page.getByLabel("Field", { exact: true }).fill("name");
    await page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("There is such a field already").waitFor();
    await page.getByLabel("Field", { exact: true }).fill("raw");
    await confirm(page, "Save");
    check("a field is renamed, over no other", await ask(server, "GET", "/v1/hashes/user:1"),
        { city: "Bergen", name: "Ann", raw: { $base64: "AP8=" } });
    await page.getByRole("button", { name: "Add…" }).click();
    await page.getByLabel("Field", { exact: true }).fill("name");
    await page.getByLabel("Value", { exact: true }).fill("other");
    await page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("There is such a field already").waitFor();
    await confirm(page, "Cancel");
    check("nor is one added over another", await command(server, "HGET", "user:1", "name"),
        "Ann");
    await page.getByRole("button", { name: "Remove raw" }).click();
    await confirm(page, "Remove");
    check("a field is removed", await command(server, "HLEN", "user:1"), 2);

    await page.at("keys?key=board");
    await page.locator(".about h2", { hasText: "board" }).waitFor();
    check("the highest first", await texts(page.locator(".pane tbody td:nth-child(2)")),
        ["user:1", "user:2", "user:3"]);
    await page.getByRole("button", { name: "Edit user:3" }).click();
    await page.getByLabel("Score", { exact: true }).fill("lots");
    await page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("A score is a number").waitFor();
    await page.getByLabel("Score", { exact: true }).fill("999.25");
    await confirm(page, "Save");
    check("a score is set", await command(server, "ZSCORE", "board", "user:3"), "999.25");

    await page.at("keys?key=todo");
    await page.getByRole("button", { name: "Remove 1" }).click();
    await confirm(page, "Remove");
    await page.getByRole("button", { name: "Add…" }).click();
    await page.getByLabel("Element", { exact: true }).fill("zero");
    await page.getByLabel("at the beginning").check();
    await confirm(page, "Save");
    check("a list is changed at a place", await command(server, "LRANGE", "todo", "0", "-1"),
        ["zero", "one", "three"]);
    await page.at("keys?key=tags");
    await page.getByRole("button", { name: "Edit red" }).click();
    await page.getByLabel("Member", { exact: true }).fill("blue");
    await confirm(page, "Save");
    check("a member is another", (await command(server, "SMEMBERS", "tags")).sort(),
        ["blue", "green"]);

    await page.at("keys?key=doc");
    await page.locator(".about h2", { hasText: "doc" }).waitFor();
    check("JSON is set out, digits kept", (await page.locator(".value-of").textContent())
        .includes('"big": 12345678901234567890'), true);
    await page.getByRole("button", { name: "Edit…" }).click();
    await page.getByLabel("Value", { exact: true }).fill("mine");
    await command(server, "SET", "doc", "theirs");
    await page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await page.locator("dialog .problem").waitFor();
    check("what another wrote meanwhile stands", await command(server, "GET", "doc"), "theirs");
    await confirm(page, "Cancel");
    await page.at("keys?key=session:x");
    await page.locator(".about h2", { hasText: "session:x" }).waitFor();
    await page.getByRole("button", { name: "Edit…" }).click();
    await page.getByLabel("Value", { exact: true }).fill("a\nb é");
    await confirm(page, "Save");
    check("a text is changed, and lives as long", [await command(server, "GET", "session:x"),
        await command(server, "TTL", "session:x") > 100], ["a\nb é", true]);
    await command(server, "HEXPIRE", "user:2", "5000", "FIELDS", "1", "name");
    await page.at("keys?key=user:2");
    await page.getByText("goes in").waitFor();
    await page.getByRole("button", { name: "Edit name" }).click();
    await page.getByLabel("Value", { exact: true }).fill("Bo");
    await confirm(page, "Save");
    check("a field, too", [await command(server, "HGET", "user:2", "name"),
        (await command(server, "HTTL", "user:2", "FIELDS", "1", "name"))[0] > 100],
    ["Bo", true]);
    await command(server, "HSET", "user:2", "name", "Bob");
    await command(server, "HSET", "lines", "a\nb", "c\r\nd\re");
    await page.at("keys?key=lines");
    await page.getByRole("button", { name: "Edit a⏎b" }).click();
    await page.getByLabel("Value", { exact: true }).press("End");
    await page.keyboard.type("\\n!");
    await confirm(page, "Save");
    check("ends of lines stay as they are", await command(server, "HGETALL", "lines"),
        ["a\nb", "c\r\nd\re\n!"]);
    await page.at("keys?key=long");
    await page.getByRole("button", { name: "Show more" }).click();
    await until(async () => await page.locator(".pane tbody tr").count() === 200, "200 elements");
    check("elements come in pages", await page.locator(".pane tbody tr").nth(150)
        .locator("td").nth(1).textContent(), "e150");
}

async function life({ page, server }) {
    await page.at("keys");
    await page.getByRole("button", { name: "New key…" }).click();
    await page.getByLabel("Key", { exact: true }).fill("made/%/here");
    await page.getByLabel("Type").last().selectOption("zset");
    await page.getByLabel("Member 1").fill("m");
    await page.getByLabel("Score 1").fill("1.5");
    await page.getByLabel("Seconds to live").fill("500");
    await confirm(page, "Make it");
    check("a key is made", [await command(server, "ZRANGE", "made/%/here", "0", "-1",
        "WITHSCORES"), await command(server, "TTL", "made/%/here") > 400],
    [["m", "1.5"], true]);
    check("and looked at", await page.locator(".about h2").textContent(), "made/%/here");
    await page.getByRole("button", { name: "New key…" }).click();
    await page.getByLabel("Key", { exact: true }).fill("made/%/here");
    await page.locator("dialog").getByRole("button", { name: "Make it" }).click();
    await page.getByText("There is a key of this name").waitFor();
    await confirm(page, "Cancel");
    await page.getByRole("button", { name: "Time to live…" }).click();
    await page.locator("dialog").getByLabel("Seconds").fill("");
    await confirm(page, "Set");
    check("it stays", await command(server, "TTL", "made/%/here"), -1);
    await page.getByRole("button", { name: "Rename…" }).click();
    await page.getByLabel("New name").fill("\\xfe\\x00");
    await page.locator("dialog").getByLabel("with escapes").check();
    await confirm(page, "Rename");
    await page.locator(".about h2", { hasText: "\\xfe\\x00" }).waitFor();
    const [[type]] = (await ask(server, "POST", "/v1/sql", { sql:
        "SELECT type FROM keys WHERE key = x'fe00'" })).rows;
    check("its name may be bytes", type, "zset");
    await page.getByRole("button", { name: "Delete…" }).click();
    await confirm(page, "Delete");
    await page.getByText("It is gone.").waitFor();
    check("it is deleted", (await ask(server, "POST", "/v1/sql", { sql:
        "SELECT 1 FROM keys WHERE key = x'fe00'" })).rows, []);
}

// Nothing that is stored may run, become an element, or turn the page around.
async function hostile({ page, server }) {
    const evil = ["<img src=x onerror=window.hacked=1>", "<script>window.hacked=1</script>",
        "\"><svg onload=alert(1)>", "javascript:alert(1)", "\u202Eevil\u2066", "a\nb\tc\rd",
        "{{constructor.constructor('alert(1)')()}}", "x".repeat(3000), "é\u0301\u{1F600}",
        "</style><b>", "__proto__", "constructor", "' OR 1=1 --", "%00%2f..", "~x", "?k=v&q#h"];
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "0");
    await write(server, ...evil.flatMap(text => [["SET", "evil:" + text, text],
        ["HSET", "evil-hash", text, text], ["SADD", "evil-set", text],
        ["RPUSH", "evil-list", text], ["ZADD", "evil-zset", "1", text], ["SET", text, text]]));
    await write(server, ["SET", "evil-long", "<b>" + "y".repeat(700000)],
        ["HSET", "evil-hash", blob("\xff<b>"), blob("\x00<i>")]);
    for (const text of evil) {
        await page.at("keys");
        await page.locator(".pane .empty").waitFor();
        await page.at("keys?" + new URLSearchParams({ key: text.startsWith("~") ?
            "~" + text : text }));
        await page.locator(".value-of").waitFor();
        const shown = await page.locator(".about h2").textContent();
        check("shown as text: " + JSON.stringify(text.slice(0, 30)), shown.length > 0 &&
            !/[\u202e\u2066\n\r\t]/.test(shown), true);
    }
    for (const key of ["evil-hash", "evil-set", "evil-list", "evil-zset", "evil-long"]) {
        await page.at("keys?key=" + key);
        await page.locator(".about").waitFor();
        await page.locator(".pane tbody td, .value-of").first().waitFor();
    }
    await page.at("keys?q=evil:");
    await page.locator('[role="treeitem"]').first().waitFor();
    await page.at("sql?run=1&q=" + encodeURIComponent("SELECT key AS \"<b>x</b>\", value " +
        "FROM strings WHERE key LIKE 'evil%'"));
    await page.locator(".result tbody tr").first().waitFor();
    check("a name of a column, too", (await texts(page.locator(".result thead th")))
        .includes("<b>x</b>"), true);
    for (const view of ["slow", "overview", "clients"])
        await page.at(view);
    check("nothing ran, and nothing became an element", await page.evaluate(() =>
        [window.hacked, document.querySelectorAll("main img, main script, main b, main i").length,
            document.scrollingElement.scrollWidth <= innerWidth]), [undefined, 0, true]);
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "10000");
}

const typed = async (page, text) => {
    await page.locator(".CodeMirror").click();
    await page.keyboard.press("Control+a");
    await page.keyboard.type(text);
};
const cells = page => texts(page.locator(".result tbody tr:first-child td"));

async function sql({ page, server }) {
    await page.at("sql");
    await page.locator(".CodeMirror").waitFor();
    await page.locator("summary", { hasText: "zsets" }).waitFor();
    await typed(page, "");
    await page.keyboard.type("SELECT value FROM has");
    await page.locator(".CodeMirror-hint", { hasText: "hashes" }).waitFor();
    await page.keyboard.press("Enter");
    await page.keyboard.type(" WHERE fie");
    await page.locator(".CodeMirror-hint", { hasText: "field" }).waitFor();
    await page.keyboard.press("Enter");
    await page.keyboard.type(" = :f AND key = 'user:2'");
    await page.getByLabel(":f").fill("name");
    await page.locator(".CodeMirror").click();
    await page.keyboard.press("Control+Enter");
    await page.locator(".result").waitFor();
    check("a completed statement with a parameter", await cells(page), ["Bob"]);
    await typed(page, "SELECT NULL, 9007199254740993, x'00ff', 1.5, 'a\"b,c'");
    await page.keyboard.press("Control+Enter");
    await until(async () => (await cells(page)).length === 5, "five columns");
    check("values of every kind", await cells(page),
        ["NULL", "9007199254740993", "\\x00\\xff", "1.5", 'a"b,c']);
    const [file] = await Promise.all([page.waitForEvent("download"),
        page.getByRole("button", { name: "Download as CSV" }).click()]);
    check("a download", [file.suggestedFilename(), readFileSync(await file.path(), "utf8")
        .split("\r\n")[1]], ["result.csv", "NULL,9007199254740993,X'00ff',1.5,\"a\"\"b,c\""
        .replace("NULL", "")]);
    const [db] = await Promise.all([page.waitForEvent("download"),
        page.getByRole("button", { name: "Download as db" }).click()]);
    check("a file of SQLite", readFileSync(await db.path(), "latin1").slice(0, 15),
        "SQLite format 3");
    await typed(page, "SELECT key,\n  nope FROM keys");
    await page.keyboard.press("Control+Enter");
    await page.locator(".CodeMirror .wrong").waitFor();
    check("an error is where it is", [await page.locator(".CodeMirror .wrong").textContent(),
        await page.locator(".results .problem").textContent().then(t => /nope/.test(t))],
    ["nope", true]);
    await typed(page, "SELECT * FROM keys WHERE key >= 'user:' AND key < 'user;'");
    await page.getByRole("button", { name: "Explain" }).click();
    await page.locator(".plan code", { hasText: /SCAN keys .*key range/ }).waitFor();
    await page.getByRole("button", { name: "Keep…" }).click();
    await page.getByLabel("Name", { exact: true }).fill("users <b>");
    await confirm(page, "Keep");
    await typed(page, "UPDATE hashes SET value = 'Rome' WHERE key = 'user:2' AND field = 'name'");
    await page.keyboard.press("Control+Enter");
    await page.locator(".results [role=status]", { hasText: "1 changed" }).waitFor();
    check("a statement writes", await command(server, "HGET", "user:2", "name"), "Rome");
    await typed(page, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) " +
        "SELECT count(*) FROM n");
    await page.keyboard.press("Control+Enter");
    const running = async () => (await ask(server, "POST", "/v1/sql", { sql: "SELECT count(*) " +
        "FROM queries WHERE sql LIKE 'WITH RECURSIVE n%'" })).rows[0][0];
    await until(running, "it runs");
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator(".results [role=status]", { hasText: "Cancelled" }).waitFor();
    await until(async () => !await running(), "the server stops, too");
    check("a statement is cancelled", true, true);
    await page.reload();
    await page.getByRole("button", { name: "users <b>", exact: true }).click();
    await page.locator(".CodeMirror-code", { hasText: "user;" }).waitFor();
    check("what was kept is there", true, true);
}

async function plainField({ browser, server }) {
    const page = await open(browser, server);
    await page.context().route("**/editor.js", route => route.fulfill({ status: 404, body: "" }));
    await page.at("sql");
    await page.locator('textarea[aria-label="SQL statement"]').fill("SELECT 6 * 7");
    await page.keyboard.press("Control+Enter");
    await page.locator(".result").waitFor();
    check("without the editor there is a field", await cells(page), ["42"]);
    await page.context().close();
}

async function server_views({ page, server }) {
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "0");
    await command(server, "ECHO", "slow & <b>low</b>");
    await page.at("slow");
    await page.locator("td", { hasText: "slow & <b>low</b>" }).first().waitFor();
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "-1"); // nor later
    await page.getByRole("button", { name: "Forget them" }).click();
    await page.getByText("No command was slow.").waitFor();
    check("slow commands are shown and forgotten", (await ask(server, "GET", "/v1/slowlog"))
        .items, []);
    await page.getByRole("button", { name: "What is slow…" }).click();
    await page.getByLabel("Microseconds").fill("2500");
    await confirm(page, "Set");
    check("what is slow is set", await command(server, "CONFIG", "GET",
        "slowlog-log-slower-than"), ["slowlog-log-slower-than", "2500"]);

    const client = await standing(server);
    await page.at("clients");
    const row = page.locator("tbody tr", { hasText: String(client.socket.localPort) });
    await row.getByRole("button").click();
    await confirm(page, "Close it");
    await client.closed;
    await page.getByText("Nobody is connected").waitFor();
    check("a client is closed", true, true);

    await page.at("config");
    await page.getByLabel("Options that have these words").fill("slowlog-max");
    await page.getByRole("button", { name: "Change slowlog-max-len" }).click();
    await page.getByLabel("Value", { exact: true }).fill("x");
    await page.locator("dialog").getByRole("button", { name: "Set" }).click();
    await page.locator("dialog .problem:not([hidden])").waitFor();
    await page.getByLabel("Value", { exact: true }).fill("77");
    await confirm(page, "Set");
    await page.locator("td strong", { hasText: "77" }).waitFor();
    check("an option is set", (await ask(server, "GET", "/v1/config"))["slowlog-max-len"], "77");

    await page.at("snapshots");
    await page.getByRole("button", { name: "Make one" }).click();
    const [file] = await Promise.all([page.waitForEvent("download"),
        page.getByRole("button", { name: /^Download/ }).first().click()]);
    check("a snapshot is made and downloaded", [/^snap-.*\.db$/.test(file.suggestedFilename()),
        readFileSync(await file.path(), "latin1").slice(0, 15)], [true, "SQLite format 3"]);
}

// What the views of the server list: slow commands, clients, snapshots.
async function filled(server) {
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "0");
    for (const length of [10, 4000])
        await command(server, "ECHO", "a".repeat(length));
    await command(server, "CONFIG", "SET", "slowlog-log-slower-than", "10000");
    await ask(server, "POST", "/v1/snapshots");
    const clients = [await standing(server), await standing(server)];
    return () => clients.forEach(client => client.socket.destroy());
}

async function theme(browser, server, colorScheme) {
    const empty = await filled(server);
    const page = await open(browser, server, { colorScheme });
    for (const view of VIEWS) {
        await page.at(view);
        await page.locator("main table, main .tree, main .chart, main .empty").first().waitFor();
        check(`axe: ${view.split("=")[0]}, ${colorScheme}`, await axe(page), []);
    }
    await page.at("keys");
    await page.getByRole("button", { name: "New key…" }).click();
    check(`axe: a dialog, ${colorScheme}`, await axe(page), []);
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+k");
    await page.getByLabel("A key or a view").fill("us");
    await page.locator('[role="option"]', { hasText: "user:1" }).waitFor();
    check(`axe: going somewhere, ${colorScheme}`, await axe(page), []);
    await page.keyboard.press("Escape");
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await ground();
    await page.locator("#theme").click();
    const after = await ground();
    await page.reload();
    check(`colours are switched, and stay, from ${colorScheme}`,
        [before === after, after === await ground()], [false, true]);
    check(`no error, ${colorScheme}`, page.wrong, []);
    await page.context().close();
    empty();
}
const themes = ({ browser, server }) => Promise.all(["light", "dark"].map(colorScheme =>
    theme(browser, server, colorScheme)));

// From the first Tab to a changed value: the keyboard alone.
async function keyboard({ browser, server }) {
    const page = await open(browser, server);
    await page.at("overview");
    const press = async (key, times = 1) => {
        for (let i = 0; i < times; i++)
            await page.keyboard.press(key);
    };
    const name = () => page.evaluate(() => (document.activeElement.getAttribute("aria-label") ??
        document.activeElement.labels?.[0]?.textContent ??
        document.activeElement.textContent).trim());
    const tabTo = async what => {
        for (let i = 0; i < 60 && !what.test(await name()); i++)
            await press("Tab");
        check("by Tab: " + what.source, what.test(await name()), true);
    };
    await press("Tab");
    check("the first Tab leads past the frame", await name(), "Skip to the content");
    await tabTo(/^Keys$/);
    await press("Enter");
    await page.locator('[role="treeitem"]', { hasText: "board" }).waitFor();
    await tabTo(/^zsetboard/);
    await press("End");
    await press("Home");
    for (let i = 0; i < 20 && !/user:/.test(await name()); i++)
        await press("ArrowDown");
    await press("ArrowRight");
    await page.locator('[aria-expanded="true"] + ul [role="treeitem"]').first().waitFor();
    await press("ArrowRight");
    check("arrows walk into a folder", /^hash1$/.test(await name()), true);
    await press("Enter");
    await page.locator(".about h2", { hasText: "user:1" }).waitFor();
    await tabTo(/^Edit city$/);
    await press("Enter");
    await page.locator("dialog").waitFor();
    check("a dialog takes the focus", await page.evaluate(() =>
        document.activeElement.closest("dialog") !== null), true);
    await tabTo(/^Value$/);
    await press("Control+a");
    await page.keyboard.type("Tromsø");
    await tabTo(/^Save$/);
    await press("Enter");
    await page.locator("dialog").waitFor({ state: "detached" });
    check("a value is changed by keyboard", await command(server, "HGET", "user:1", "city"),
        "Tromsø");
    await press("Control+k");
    await page.keyboard.type("SQ");
    await page.locator('[role="option"]', { hasText: "SQL" }).waitFor();
    await press("Enter");
    await page.locator(".CodeMirror").waitFor();
    await tabTo(/^SQL statement$/);
    await press("Control+a");
    await page.keyboard.type("SELECT 'by hand'");
    await press("Escape");
    await press("Control+Enter");
    await page.locator(".result td", { hasText: "by hand" }).waitFor();
    await press("Tab");
    check("Tab leaves the editor", /^Run/.test(await name()), true);
    await press("Control+k");
    await page.keyboard.type("user:2");
    await page.locator('[role="option"]', { hasText: "user:2" }).waitFor();
    await press("Enter");
    await page.locator(".about h2", { hasText: "user:2" }).waitFor();
    check("a key is gone to by its beginning", true, true);
    check("no error by keyboard", page.wrong, []);
    await page.context().close();
}

// Who types faster than the server answers and the browser draws.
async function haste({ browser, server }) {
    const page = await open(browser, server), late = 500;
    await page.addInitScript(late => {
        window.requestAnimationFrame = call => setTimeout(() => call(performance.now()), late);
        window.cancelAnimationFrame = clearTimeout;
    }, late);
    await page.route("**/v1/sql**", async route => {
        await new Promise(done => setTimeout(done, late));
        await route.continue();
    });
    await page.at("overview");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("user:2");
    await page.keyboard.press("Enter");
    await page.locator(".about h2", { hasText: "user:2" }).waitFor();
    await page.keyboard.press("Control+k");
    await page.keyboard.type("SQ");
    await page.keyboard.press("Enter");
    await page.locator('main[data-view="sql"] .CodeMirror').waitFor();
    check("Enter goes to what is typed", true, true);
    await page.locator("summary", { hasText: "zsets" }).waitFor();
    await typed(page, "SELECT value FROM has");
    await page.keyboard.press("Enter");
    await page.keyboard.type(" WHERE fie");
    await page.keyboard.press("Enter");
    await page.keyboard.type(" = 'name' AND key = 'user:2'");
    await page.keyboard.press("Control+Enter");
    await page.locator(".result tbody tr").first().waitFor();
    check("Enter completes what is typed", await cells(page),
        [await command(server, "HGET", "user:2", "name")]);
    check("no error in haste", page.wrong, []);
    await page.context().close();
}

async function narrow({ browser, server }) {
    const page = await open(browser, server, { viewport: { width: 380, height: 760 } });
    const empty = await filled(server);
    for (const view of VIEWS) {
        await page.at(view);
        await page.locator("main table, main .tree, main .chart, main .empty").first().waitFor();
        check(`nothing is wider than the window: ${view.split("=")[0]}`, await page.evaluate(() =>
            document.scrollingElement.scrollWidth), 380);
    }
    await page.context().close();
    empty();
}

async function first_load({ browser, server }) {
    const page = await open(browser, server);
    const seen = new Set(); // a slow machine asks again before it shows anything
    let bytes = 0;
    page.on("response", async response => {
        if (seen.has(response.url()))
            return;
        seen.add(response.url());
        bytes += (await response.request().sizes().catch(() => null))?.responseBodySize ?? 0;
    });
    await page.at("overview");
    await page.locator("#state.live").waitFor();
    await page.locator(".figure").first().waitFor();
    const paint = await page.evaluate(() => performance.getEntriesByName(
        "first-contentful-paint")[0]?.startTime);
    check(`the first view is small (${bytes} bytes; first paint after ${Math.round(paint)} ms)`,
        bytes > 0 && bytes < 64 * 1024, true);
    await page.context().close();
}

async function token({ browser }) {
    const server = await serve({ KVSQL_REQUIREPASS: "open-sesame" });
    const page = await open(browser, server);
    await page.goto(server.url + "/_/");
    await page.getByLabel("Token", { exact: true }).fill("wrong");
    await page.keyboard.press("Enter");
    await page.locator("dialog .problem:not([hidden])").waitFor();
    await page.getByLabel("Token", { exact: true }).fill("open-sesame");
    await page.keyboard.press("Enter");
    await page.locator("#state.live").waitFor();
    check("one dialog, and it is gone", await page.locator("dialog").count(), 0);
    check("the token stays in the tab", await page.evaluate(() =>
        [sessionStorage.getItem("kvsql.token"), JSON.stringify({ ...localStorage })
            .includes("sesame"), location.href.includes("sesame"), document.cookie]),
    ["open-sesame", false, false, ""]);
    check("it is in no address", await page.evaluate(() => performance.getEntriesByType("resource")
        .filter(one => one.name.includes("sesame")).length), 0);
    await page.reload();
    await page.locator("#state.live").waitFor();
    check("a reload asks nothing", await page.locator("dialog").count(), 0);
    await page.at("snapshots");
    await page.getByRole("button", { name: "Make one" }).click();
    const [file] = await Promise.all([page.waitForEvent("download"),
        page.getByRole("button", { name: /^Download/ }).first().click()]);
    check("a download with a token", readFileSync(await file.path(), "latin1").slice(0, 15),
        "SQLite format 3");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token", { exact: true }).waitFor();
    check("signed out", await page.evaluate(() => sessionStorage.getItem("kvsql.token")), null);
    check("axe: the token is asked for", await axe(page), []);
    check("no error with a token", page.wrong, []);
    await page.context().close();
    check("a clean end with a token", await server.stop(), 0);
}

// What the read-only token may not do is said, and the rest works.
async function readonly({ browser }) {
    const file = `${process.env.WORK}/readonly`, secret = "x".repeat(40);
    writeFileSync(file, secret, { mode: 0o600 });
    const server = await serve({ KVSQL_TOKEN_READONLY_FILE: file,
        KVSQL_REQUIREPASS: "open-sesame" });
    await command(server, "HSET", "h", "f", "1");
    const page = await open(browser, server);
    await page.goto(server.url + "/_/");
    await page.getByLabel("Token", { exact: true }).fill(secret);
    await page.keyboard.press("Enter");
    await page.locator("#state.live").waitFor();
    await page.locator("td", { hasText: /^HSET$/ }).waitFor();
    await page.at("keys?key=h");
    await page.getByRole("button", { name: "Edit f" }).click();
    await page.getByLabel("Value", { exact: true }).fill("2");
    await page.locator("dialog").getByRole("button", { name: "Save" }).click();
    await page.locator("dialog .problem", { hasText: "may not do this" }).waitFor();
    check("a write is refused, and said", await command(server, "HGET", "h", "f"), "1");
    await confirm(page, "Cancel");
    await page.at("config");
    await page.locator("main .problem").waitFor();
    check("no error with less rights", page.wrong, []);
    await page.context().close();
    check("a clean end with less rights", await server.stop(), 0);
}

async function away({ browser }) {
    const server = await serve();
    const page = await open(browser, server);
    await page.at("overview");
    await page.locator("#state.live").waitFor();
    check("a clean end under the page", await server.stop(), 0);
    await page.locator("#state.away").waitFor();
    check("a server that is gone is told", await page.locator("#state").textContent(), "away");
    check("it is no error of the page's", page.wrong.filter(text =>
        !/net::ERR_/.test(text)), []);
    await page.context().close();
}

async function pictures({ browser, server }) {
    mkdirSync(SHOTS, { recursive: true });
    const empty = await filled(server);
    for (const [name, options] of Object.entries({
        light: { colorScheme: "light" }, dark: { colorScheme: "dark" },
        narrow: { colorScheme: "light", viewport: { width: 390, height: 844 } } })) {
        const page = await open(browser, server, options);
        for (const [i, view] of VIEWS.entries()) {
            await page.at(view);
            await page.locator("main table, main .tree, main .chart, main .empty").first().waitFor();
            await page.waitForTimeout(view === "overview" ? 9000 : 800);
            await page.screenshot({ path: `${SHOTS}/${i}-${view.split("?")[0]}-${name}.png` });
        }
        await page.context().close();
    }
    empty();
    check("pictures are in " + SHOTS, existsSync(SHOTS), true);
}

// ---- all -------------------------------------------------------------------------

const server = await serve(), browser = await launch();
await data(server);
for (const scene of [overview, tree, edits, life, sql, plainField, server_views, keyboard,
    haste, themes, narrow, first_load, token, readonly, away, hostile, ...SHOTS ? [pictures] : []]) {
    if (SCENES && !SCENES.includes(scene.name))
        continue;
    const page = await open(browser, server);
    const started = Date.now();
    try {
        await scene({ browser, server, page });
    } catch (error) {
        fail(scene.name, error.stack);
        await page.screenshot({ path: `${process.env.WORK}/${scene.name}.png` }).catch(() => {});
    }
    check(`${scene.name}: nothing went wrong in the browser`, page.wrong, []);
    console.log(`# ${scene.name} took ${Date.now() - started} ms`);
    await page.context().close();
}
await browser.close();
check("a clean end", await server.stop(), 0);
process.exit(result());
