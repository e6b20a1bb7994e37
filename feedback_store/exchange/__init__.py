"""Import and export in other tools' formats. Each module reads a file into `Imported` and writes current judgments."""
