//! A real nginx on loopback, with a configuration as users write it.

use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::concurrency::wait_until;
use crate::config::fresh_directory;
use crate::http::Ask;
use crate::program::{Program, remove};

/// A running nginx; it ends with the value.
pub struct Nginx {
    program: Program,
    directory: PathBuf,
    port: u16,
}

impl Nginx {
    /// `http` is what stands in the block of that name; one of its servers listens on `port`.
    #[track_caller]
    pub fn start(http: &str, port: u16) -> Nginx {
        let directory = fresh_directory();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", directory.display()))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{http}}}\n",
            directory.display()
        );
        fs::write(directory.join("nginx.conf"), text).expect("the directory takes a file");
        let mut command = Command::new(program());
        command.arg("-p").arg(&directory).arg("-e").arg("stderr").arg("-c").arg(directory.join("nginx.conf"));
        command.stdin(Stdio::null());
        let mut program = Program::start(command);
        wait_until("nginx to answer", || {
            assert!(program.running(), "nginx ended at its start: {}", program.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Nginx { program, directory, port }
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask {
        Ask::new(method, format!("http://127.0.0.1:{}{path}", self.port))
    }

    pub fn log(&self) -> String {
        self.program.log()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.program.kill9();
        remove(&self.directory);
    }
}

fn program() -> OsString {
    std::env::var_os("AUTH_NGINX").expect("AUTH_NGINX is set by `./dev test`")
}
