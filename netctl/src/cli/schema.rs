//! `netctl schema`: the JSON Schema of the topology file.

use netctl::spec;

use super::{Exit, Failure, Printer};

/// Shown below the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  netctl schema > netctl.schema.json

As the first line of a topology file, for Taplo and the editors that use it:
  #:schema ./netctl.schema.json

In a topology file in JSON:
  { \"$schema\": \"./netctl.schema.json\", .. }";

/// JSON is its only form.
pub(super) fn run(printer: &mut Printer) -> Result<Exit, Failure> {
    let schema = spec::schema();
    printer.show(&schema, |printer| printer.lines(&format!("{schema:#}")))?;
    Ok(Exit::Done)
}
