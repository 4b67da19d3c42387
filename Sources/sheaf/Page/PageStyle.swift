/// How the page looks: light or dark as the reader's system is, on paper black on white.
enum PageStyle {
  static let css = """
    :root{color-scheme:light dark;--ground:#fff;--text:#1c1e21;--soft:#5a6069;--line:#d5d9df;--panel:#f5f6f8;
    --full:#1f6f5c;--incr:#5d9bd1;--diff:#8a6fc0;--bad:#b3261e;--warn:#8a5a00;--good:#1a6b35;--cell:#dfeae6;--cell2:#c9ddd6}
    @media(prefers-color-scheme:dark){:root{--ground:#16181b;--text:#e8eaed;--soft:#a7adb6;--line:#3a3f46;--panel:#202327;
    --full:#56b89c;--incr:#7fb3e0;--diff:#b29be0;--bad:#ff8a80;--warn:#f0b95a;--good:#7ed495;--cell:#26423a;--cell2:#2f5448}}
    *{box-sizing:border-box}
    body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,sans-serif}
    header,main,footer{max-width:70rem;margin:0 auto;padding:0 1rem}
    h1{font-size:1.7rem;line-height:1.2;margin:1.5rem 0 .2rem;overflow-wrap:anywhere}
    h2{font-size:1.3rem;margin:2.2rem 0 .6rem;overflow-wrap:anywhere}
    h3{font-size:1rem;margin:1.4rem 0 .4rem}
    p{margin:.4rem 0}
    .soft,footer{color:var(--soft)}.bad{color:var(--bad);font-weight:600}.warn{color:var(--warn);font-weight:600}
    .good{color:var(--good);font-weight:600}
    nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;margin:.6rem 0 0;padding:0}
    a{color:inherit}a:focus-visible,.wide:focus-visible{outline:3px solid var(--incr);outline-offset:2px}
    dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.7rem;margin:.8rem 0}
    dl div{background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
    dt{color:var(--soft);font-size:.85rem}dd{margin:0;overflow-wrap:anywhere}
    .wide{overflow-x:auto;margin:.5rem 0;border:1px solid var(--line);border-radius:.5rem}
    .tall{max-height:32rem;overflow-y:auto}
    table{border-collapse:collapse;width:100%;font-size:.9rem}
    th,td{padding:.3rem .7rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
    td.name{white-space:normal;overflow-wrap:anywhere;min-width:12rem}
    thead th{background:var(--panel);position:sticky;top:0}
    .num{text-align:right;font-variant-numeric:tabular-nums}
    svg{display:block;width:100%;min-width:40rem;height:auto}
    svg text{fill:var(--text);font:12px system-ui,sans-serif}svg .axis{fill:var(--soft)}
    .f{fill:var(--full)}.i{fill:var(--incr)}.d{fill:var(--diff)}.x{fill:var(--bad)}.grid{stroke:var(--line)}
    .area{fill:var(--incr);fill-opacity:.25}.curve{fill:none;stroke:var(--incr);stroke-width:2}
    .c{fill:var(--cell);stroke:var(--ground)}.c2{fill:var(--cell2);stroke:var(--ground)}
    .key span{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;margin:0 .3rem 0 .9rem}
    .key .f{background:var(--full)}.key .i{background:var(--incr)}.key .d{background:var(--diff)}
    pre{background:var(--panel);border:1px solid var(--line);border-radius:.5rem;padding:.7rem .9rem;overflow-x:auto;
    font:.85rem/1.5 ui-monospace,monospace;margin:.4rem 0}
    footer{padding-bottom:2rem;margin-top:2rem;font-size:.9rem}
    @media print{:root{--ground:#fff;--text:#000;--soft:#333;--line:#999;--panel:#fff}body{font-size:10pt}
    nav{display:none}.wide,.tall{overflow:visible;max-height:none}pre{white-space:pre-wrap}h2,h3{break-after:avoid}
    svg{min-width:0}}
    """
}
