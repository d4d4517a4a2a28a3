// How Allure 3 makes the report; run by harness/reporting/html.py, which sets the variables.
// Matching categories by label, not by message or status, is what keeps "the storage broke"
// apart from "the lab broke"; harness/reporting/verdicts.py sets the label.

const verdict = (value) => ({ labels: { verdict: new RegExp(`^${value}$`) } });

const charts = [
  { type: "currentStatus", title: "Tests of this run" },
  { type: "testResultSeverities", title: "By severity" },
  { type: "durations", title: "How long tests take", groupBy: "none" },
  { type: "statusDynamics", title: "Run by run" },
  { type: "statusTransitions", title: "What changed, run by run" },
  { type: "statusAgePyramid", title: "How long a test has been in its state" },
];

const awesome = {
  groupBy: ["epic", "feature"],
  charts,
  stepTreeExpansion: "expanded",
  theme: "auto",
  reportLanguage: "en",
};

export default {
  historyPath: process.env.PATHPROOF_HISTORY || undefined,
  historyLimit: 60,
  hideLabels: [
    "language", "framework", "package", "parentSuite", "suite", "subSuite",
  ],
  categories: {
    rules: [
      {
        id: "storage",
        name: "The storage broke",
        matchers: verdict("storage"),
        groupBy: [{ label: "feature" }],
        expand: true,
      },
      { id: "lab", name: "The lab broke", matchers: verdict("lab"), expand: true },
      { id: "defect", name: "A program is wrong", matchers: verdict("defect"), expand: true },
      { id: "unknown", name: "Could not tell", matchers: verdict("unknown"), expand: true },
    ],
  },
  plugins: {
    file: {
      import: "@allurereport/plugin-awesome",
      options: { ...awesome, singleFile: true },
    },
    folder: {
      import: "@allurereport/plugin-awesome",
      options: { ...awesome, singleFile: false },
    },
  },
};
