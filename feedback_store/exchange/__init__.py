"""Other tools' formats, in and out. Each module reads a file into `Imported` and writes judgments that stand."""
