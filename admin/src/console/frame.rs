//! What surrounds each page: who looks at it, and where else there is to go.

use super::visitor::Visitor;

/// A link of the menu.
pub(super) struct Link {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) icon: &'static str,
}

/// Links that belong together.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) links: &'static [Link],
}

const fn link(path: &'static str, name: &'static str, icon: &'static str) -> Link {
    Link { path, name, icon }
}

/// What a page is surrounded by.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Its title.
    pub(super) title: String,
    /// The menu's path that it belongs to.
    pub(super) section: &'static str,
    /// Who looks at it.
    pub(super) who: String,
    /// What they may, in words.
    pub(super) role: &'static str,
    /// The proof that changes come from a page of theirs.
    pub(super) csrf: String,
}

impl Frame {
    /// The menu.
    pub(super) const GROUPS: &'static [Group] = &[
        Group { name: "", links: &[link("/admin", "Overview", "overview")] },
        Group {
            name: "People",
            links: &[link("/admin/rooms", "Rooms", "rooms"), link("/admin/apps", "Apps and keys", "app")],
        },
        Group {
            name: "Cluster",
            links: &[
                link("/admin/edges", "Edges", "edge"),
                link("/admin/nodes", "Nodes and shards", "node"),
                link("/admin/configuration", "Configuration", "options"),
                link("/admin/logs", "Logs", "log"),
                link("/admin/test", "Test my connection", "test"),
            ],
        },
        Group {
            name: "Relays",
            links: &[
                link("/admin/turn", "TURN credentials", "key"),
                link("/admin/allocations", "Allocations", "relay"),
                link("/admin/costs", "Traffic and costs", "cost"),
            ],
        },
        Group {
            name: "Operators",
            links: &[
                link("/admin/webhooks", "Webhooks", "hook"),
                link("/admin/audit", "Audit log", "audit"),
                link("/admin/operators", "Operators", "operator"),
                link("/admin/settings", "Settings", "settings"),
            ],
        },
        Group { name: "Programs", links: &[link("/admin/api", "API", "api")] },
    ];

    /// Of a page in a section.
    pub(super) fn of(visitor: &Visitor, section: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section,
            who: visitor.name.clone(),
            role: visitor.role,
            csrf: visitor.csrf.clone(),
        }
    }
}
