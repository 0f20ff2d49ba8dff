//! Whether people who cannot see or point can use a page, by the rules of [axe](https://github.com/dequelabs/axe-core).

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::chromium::Page;
use crate::process;

/// `ops/test` fetches it.
const VERSION: &str = "4.14.1";

static SOURCE: LazyLock<String> = LazyLock::new(|| {
    let target = process::binary().ancestors().nth(2).map(PathBuf::from).expect("target/PROFILE/chappe");
    let file = target.join(format!("axe-core-{VERSION}/axe.min.js"));
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}: ops/test browser fetches it", file.display()))
});

/// What axe finds serious or critical of a page, or of the dialog that is open there: each with its element and the fix.
/// Its script comes by the `DevTools` protocol, so the page's policy stays as it is. What is in `#explorer` is Swagger
/// UI's own markup, where buttons are in buttons.
///
/// # Panics
/// When axe is not there, or fails.
#[must_use]
pub fn serious(page: &Page) -> Vec<String> {
    if page.evaluate("typeof axe") == "undefined" {
        page.evaluate(&SOURCE);
    }
    let found = page.evaluate(
        "axe.run(
            { include: document.querySelector('dialog[open]') ?? document, exclude: ['#explorer'] },
            { preload: false, resultTypes: ['violations'] },
        ).then(({ violations }) => violations
            .filter(({ impact }) => ['serious', 'critical'].includes(impact))
            .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n    ${failureSummary}`)))",
    );
    let lines = found.as_array().expect("findings").iter();
    lines.map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
}
