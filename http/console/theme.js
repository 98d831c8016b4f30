/* theme.js - light or dark, before anything is painted: what was chosen here,
 * else what the system says. A plain script, so that it runs at once. */
"use strict";
{
    let chosen = null;
    try {
        chosen = localStorage.getItem("kvsql.theme");
    } catch {
        /* storage is forbidden: the system's */
    }
    if (chosen === "light" || chosen === "dark")
        document.documentElement.dataset.theme = chosen;
}
