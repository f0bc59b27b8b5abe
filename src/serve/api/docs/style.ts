/** Of the docs page: light or dark as the reader's system is. */
export const DOCS_STYLE = `
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e6e6); --dim: light-dark(#57606a, #9aa4ad); --line: light-dark(#d5dae0, #363c43); --paper: light-dark(#fff, #14171a); --side: light-dark(#f5f7f9, #1b1f24); --mark: light-dark(#0550ae, #79b8ff); }
* { box-sizing: border-box; }
body { margin: 0; display: grid; grid-template-columns: 19rem minmax(0, 1fr); color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; background: var(--side); border-right: 1px solid var(--line); }
nav h1 { font-size: 1.1rem; margin: 0; } nav h2 { font-size: .8rem; margin: 1rem 0 .3rem; color: var(--dim); text-transform: uppercase; letter-spacing: .05em; }
nav ul { list-style: none; margin: 0; padding: 0; } nav li { margin: .15rem 0; overflow-wrap: anywhere; font-size: .85rem; }
.version, .access, .errors { color: var(--dim); font-size: .85rem; }
main { padding: 1rem 2rem 4rem; max-width: 72rem; }
a { color: var(--mark); } a:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
section { border-top: 1px solid var(--line); padding: .5rem 0 1rem; } h3 { margin: .8rem 0 .3rem; } h4 { margin: 1.2rem 0 .2rem; }
b.GET, b.POST, b.PUT, b.PATCH, b.DELETE { font: 600 .75rem ui-monospace, monospace; padding: .1rem .35rem; border: 1px solid var(--line); border-radius: .25rem; color: var(--ink); }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-size: .9rem; } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: break-word; } td p { margin: 0; }
.required { color: var(--dim); font-size: .8rem; } dt { margin-top: .5rem; } dd { margin: 0 0 0 1.5rem; }
@media (max-width: 60rem) { body { display: block; } nav { position: static; height: auto; } main { padding: 1rem; } }
`;
