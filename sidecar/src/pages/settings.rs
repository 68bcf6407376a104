//! Settings of the pages.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    pub enabled: bool,
    /// What the app is called, in titles.
    pub app_name: String,
    /// An image beside the name: a URL, or a path of this host.
    pub logo_url: Option<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Pages { enabled: true, app_name: "Account".into(), logo_url: None }
    }
}
