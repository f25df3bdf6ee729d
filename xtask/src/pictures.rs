//! `pictures`: those of the docs. Networks are drawn by netctl, from their files; a terminal from the README's session.

mod session;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    run::{announce, run},
    workspace::{Profile, Workspace},
};

/// Draws the quickstart, every example and the session.
pub(crate) fn pictures(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo("build").args(["--quiet", "--package", "netctl"]))?;
    for (topology, picture) in topologies(&workspace.root)? {
        let mut command = Command::new(workspace.netctl(Profile::Dev));
        command.args(["graph", "--format", "svg"]).arg(&topology);
        announce(&command);
        let output = command.output().context("running netctl")?;
        if !output.status.success() {
            bail!("{}: {}", topology.display(), String::from_utf8_lossy(&output.stderr));
        }
        write(&picture, &output.stdout)?;
    }
    let readme = fs::read_to_string(workspace.root.join("README.md")).context("reading README.md")?;
    let terminal = session::draw(&readme).context("README.md shows no session")?;
    write(&workspace.root.join("docs/images/session.svg"), terminal.as_bytes())
}

fn write(picture: &Path, drawn: &[u8]) -> Result<()> {
    fs::write(picture, drawn).with_context(|| format!("writing {}", picture.display()))
}

/// The files, each with its picture.
fn topologies(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let (examples, images) = (root.join("docs/examples"), root.join("docs/images"));
    let mut found = vec![(root.join("netctl/quickstart.toml"), images.join("quickstart.svg"))];
    for entry in fs::read_dir(&examples).with_context(|| format!("reading {}", examples.display()))? {
        let path = entry?.path();
        if let (Some("toml"), Some(name)) = (path.extension().and_then(|its| its.to_str()), path.file_stem())
        {
            let picture = images.join("examples").join(name).with_extension("svg");
            found.push((path, picture));
        }
    }
    Ok(found)
}
