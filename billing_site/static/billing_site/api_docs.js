// Shows the API's description in the reader's colours, and again when these change.
"use strict";

const place = document.getElementById("docs");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const sans = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const mono = "ui-monospace, 'SFMono-Regular', Menlo, Consolas, monospace";

function theme(isDark) {
  const text = isDark ? "#dfe4ec" : "#1f2733";
  const quiet = isDark ? "#a7b1c0" : "#566173";
  const line = isDark ? "#333c49" : "#dde2e9";
  const ground = isDark ? "#14181f" : "#ffffff";
  const raised = isDark ? "#1c222b" : "#f5f7fa";
  const accent = isDark ? "#8ab4ff" : "#1f5fc4";
  return {
    spacing: { sectionVertical: 24 },
    colors: {
      primary: { main: accent },
      text: { primary: text, secondary: quiet },
      border: { dark: line, light: line },
      gray: { 50: raised, 100: raised },
      success: { main: isDark ? "#6fd08c" : "#1d7a3a" },
      error: { main: isDark ? "#ff8f85" : "#b3261e" },
      responses: {
        success: { color: isDark ? "#6fd08c" : "#1d7a3a", backgroundColor: isDark ? "#18301f" : "#e9f6ed", tabTextColor: "#6fd08c" },
        error: { color: isDark ? "#ff8f85" : "#b3261e", backgroundColor: isDark ? "#3a1d1d" : "#fdeeed", tabTextColor: "#ff8f85" },
      },
    },
    schema: { nestedBackground: raised, linesColor: line, typeNameColor: quiet, typeTitleColor: quiet, requireLabelColor: isDark ? "#ff8f85" : "#b3261e" },
    sidebar: { backgroundColor: raised, textColor: text, activeTextColor: accent, width: "270px" },
    rightPanel: { backgroundColor: isDark ? "#0d1015" : "#232b37", textColor: "#f2f5f9" },
    codeBlock: { backgroundColor: isDark ? "#171c24" : "#161c25" },
    typography: {
      fontSize: "15px",
      lineHeight: "1.55",
      fontFamily: sans,
      headings: { fontFamily: sans, fontWeight: "600" },
      code: { fontFamily: mono, fontSize: "13px", color: isDark ? "#ffc9a3" : "#9a3412", backgroundColor: raised, wrap: false },
      links: { color: accent, visited: accent, hover: accent },
    },
    ground,
  };
}

function show() {
  const scrolled = window.scrollY;
  Redoc.init(
    place.dataset.description,
    {
      theme: theme(dark.matches),
      disableSearch: true, // its index is built by a worker, which our content security policy forbids
      hideDownloadButton: false,
      hideHostname: true,
      requiredPropsFirst: true,
      expandResponses: "200,201",
      jsonSampleExpandLevel: 4,
      sortTagsAlphabetically: false,
      nativeScrollbars: true,
    },
    place,
    () => window.scrollTo(0, scrolled),
  );
}

dark.addEventListener("change", show);
show();
