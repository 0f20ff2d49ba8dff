//! Chromium in a network namespace, driven over a pipe by the DevTools protocol: no port of the
//! driver's own is in the network that a test breaks.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::netns::{Namespace, eventually, wait};

/// What a browser may take for one command on a busy machine.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// It closes within this, or is killed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--mute-audio",
    "--hide-scrollbars",
    // Several windows, of which one at most is in front.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-pipe",
];

/// A browser with a profile of its own.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    link: Arc<Link>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one in that namespace; `flags` are added to those that every test uses.
    pub fn start(namespace: &Namespace, flags: &[&str]) -> Self {
        Self::start_by(namespace.command("sh"), flags)
    }

    /// Starts one where this process is.
    pub fn start_here(flags: &[&str]) -> Self {
        Self::start_by(Command::new("sh"), flags)
    }

    fn start_by(mut shell: Command, flags: &[&str]) -> Self {
        let profile = TempDir::new().expect("a directory for the profile");
        let data = format!("--user-data-dir={}", profile.path().display());
        // The pipe is file descriptors 3 and 4 of the browser; a child has 0 and 1 here.
        let mut child = shell
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"])
            .args(FLAGS)
            .args(flags)
            .arg(data)
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium starts");
        let link =
            Arc::new(Link { input: Mutex::new(child.stdin.take().expect("piped")), state: Mutex::default() });
        let (output, reader) = (child.stdout.take().expect("piped"), Arc::clone(&link));
        std::thread::spawn(move || reader.read(output));
        link.call(None, "Browser.getVersion", &json!({})).expect("chromium answers");
        Self { child, link, _profile: profile }
    }

    /// Opens a window of that size.
    pub fn page(&self, url: &str, size: (u32, u32)) -> Page {
        self.window(url, size, &json!({}))
    }

    /// Opens a window that shares no cookie and no storage with any other, as a person at another browser.
    pub fn private_page(&self, url: &str, size: (u32, u32)) -> Page {
        let made = self.link.call(None, "Target.createBrowserContext", &json!({})).expect("a context");
        self.window(url, size, &made)
    }

    /// Lets pages do what a person is asked about, by the names of `Browser.PermissionType`.
    pub fn allow(&self, permissions: &[&str]) {
        let wish = json!({ "permissions": permissions });
        self.link.call(None, "Browser.grantPermissions", &wish).expect("permissions");
    }

    fn window(&self, url: &str, (width, height): (u32, u32), context: &Value) -> Page {
        let call = |method, parameters: &Value| self.link.call(None, method, parameters).expect(method);
        // Blank at first, so that nothing that the page says is missed.
        let mut wanted = json!({ "url": "about:blank", "newWindow": true, "width": width, "height": height });
        if let Some(id) = context.get("browserContextId") {
            wanted["browserContextId"] = id.clone();
        }
        let target = call("Target.createTarget", &wanted)["targetId"].clone();
        let attached = call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        let page = Page { link: Arc::clone(&self.link), session, target };
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.command(domain, &json!({}));
        }
        page.resize((width, height));
        page.go(url);
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In order, so that none of its processes writes into the profile while that is removed.
        self.link.tell("Browser.close");
        let closed = eventually(CLOSE_WITHIN, || matches!(self.child.try_wait(), Ok(Some(_))).then_some(()));
        if closed.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A window of a [`Browser`].
#[derive(Debug)]
pub struct Page {
    link: Arc<Link>,
    session: String,
    target: Value,
}

impl Page {
    /// Sends a DevTools command.
    ///
    /// # Panics
    /// When it is refused.
    pub fn command(&self, method: &str, parameters: &Value) -> Value {
        match self.link.call(Some(&self.session), method, parameters) {
            Ok(value) => value,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Gives it another size; a narrow one is a phone's.
    pub fn resize(&self, (width, height): (u32, u32)) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Goes to an address, without waiting for it.
    pub fn go(&self, url: &str) {
        self.command("Page.navigate", &json!({ "url": url }));
    }

    /// Loads the page again, as a person would.
    pub fn reload(&self) {
        self.command("Page.reload", &json!({}));
    }

    /// The value of a JavaScript expression, awaited if it is a promise; run as if by a person's gesture.
    ///
    /// # Errors
    /// What it threw, or that the page went elsewhere meanwhile.
    pub fn try_evaluate(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.link.call(Some(&self.session), "Runtime.evaluate", &parameters)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(answer["result"].get("value").cloned().unwrap_or(Value::Null)),
        }
    }

    /// The value of a JavaScript expression, awaited if it is a promise.
    ///
    /// # Panics
    /// When it throws.
    pub fn evaluate(&self, expression: &str) -> Value {
        self.try_evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it never is in time.
    pub fn until(&self, expression: &str, within: Duration) {
        let what = format!("{expression} ({})", self.target);
        wait(&what, within, || (self.try_evaluate(expression) == Ok(Value::Bool(true))).then_some(()));
    }

    /// A picture of the page, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let shot = self.command("Page.captureScreenshot", &json!({ "format": "png" }));
        let text = shot["data"].as_str().expect("a picture");
        data_encoding::BASE64.decode(text.as_bytes()).expect("base64")
    }

    /// What the page has said so far: console, failed loads, uncaught exceptions.
    pub fn said(&self) -> Vec<String> {
        self.link.state().said.get(&self.session).cloned().unwrap_or_default()
    }

    /// Closes it, as a person closes a tab.
    pub fn close(&self) {
        let _ = self.link.call(None, "Target.closeTarget", &json!({ "targetId": self.target }));
    }
}

/// The pipe to a browser.
#[derive(Debug)]
struct Link {
    input: Mutex<ChildStdin>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, SyncSender<Value>>,
    said: HashMap<String, Vec<String>>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Result<Value, String> {
        let (id, answer) = self.expect();
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = self.input.lock().map_err(|error| error.to_string())?.write_all(&bytes);
        sent.map_err(|error| format!("the browser is gone: {error}"))?;
        let answer = answer.recv_timeout(COMMAND_WITHIN).map_err(|error| format!("no answer: {error}"))?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Says that without waiting for an answer, which may never come.
    fn tell(&self, method: &str) {
        let Ok(mut input) = self.input.lock() else { return };
        let _ = input.write_all(format!("{}\0", json!({ "id": 0, "method": method })).as_bytes());
    }

    fn expect(&self) -> (u64, Receiver<Value>) {
        let (sender, receiver) = sync_channel(1);
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.waiting.insert(id, sender);
        (id, receiver)
    }

    /// Messages are divided by NUL; those without an id are events.
    fn read(&self, output: impl Read) {
        for message in BufReader::new(output).split(0) {
            let Ok(message) = message else { break };
            let Ok(message) = serde_json::from_slice::<Value>(&message) else { continue };
            let mut state = self.state();
            match message["id"].as_u64() {
                Some(id) => {
                    if let Some(waiting) = state.waiting.remove(&id) {
                        // Whoever gave up waiting needs no answer.
                        let _ = waiting.try_send(message);
                    }
                }
                None => {
                    let (Some(session), Some(line)) = (message["sessionId"].as_str(), told(&message)) else {
                        continue;
                    };
                    state.said.entry(session.to_owned()).or_default().push(line);
                }
            }
        }
        self.state().waiting.clear();
    }
}

/// An event in words, if it is one that a developer would see in the console.
fn told(message: &Value) -> Option<String> {
    let event = &message["params"];
    match message["method"].as_str()? {
        "Runtime.consoleAPICalled" => {
            let words = event["args"].as_array()?.iter().map(|argument| {
                argument["value"].as_str().or(argument["description"].as_str()).unwrap_or("?").to_owned()
            });
            Some(format!("console.{}: {}", event["type"].as_str()?, words.collect::<Vec<_>>().join(" ")))
        }
        "Runtime.exceptionThrown" => {
            let details = &event["exceptionDetails"];
            let text = details["exception"]["description"].as_str().or(details["text"].as_str())?;
            Some(format!("uncaught: {text}"))
        }
        "Log.entryAdded" => {
            let entry = &event["entry"];
            Some(format!("{}: {} {}", entry["level"].as_str()?, entry["text"].as_str()?, entry["url"]))
        }
        _ => None,
    }
}
