//! This copy of the module: where its script is, and what has become of it.

use crate::codes;
use crate::script::{Action, Script};
use cryptoki_sys::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

pub(crate) struct Instance {
    pub(crate) real: CK_FUNCTION_LIST,
    _library: cryptoki_sys::Pkcs11,
    script_file: PathBuf,
    log_file: PathBuf,
    script: RwLock<(Option<Stamp>, Current)>,
    life: AtomicU8,
    real_is_initialized: AtomicBool,
    sessions: Mutex<Sessions>,
    /// Held by every real call, and alone by what ends sessions and logins: real modules do not bear
    /// that under a call that is being made.
    pub(crate) calls: RwLock<()>,
}

/// The script, or the line of it that makes no sense.
type Current = Arc<Result<Script, String>>;

/// The file as it was when it was read.
type Stamp = (u64, i64, i64, u64);

#[derive(Default)]
pub(crate) struct Sessions {
    slots: HashMap<CK_SESSION_HANDLE, CK_SLOT_ID>,
    /// Objects that were found a second time and did not fit.
    pub(crate) found_again: HashMap<CK_SESSION_HANDLE, VecDeque<CK_OBJECT_HANDLE>>,
    /// Sessions whose buffer was found too small.
    pub(crate) told_too_small: HashSet<CK_SESSION_HANDLE>,
}

/// How the module is.
const NOT_INITIALIZED: u8 = 0;
const UP: u8 = 1;
const DEAD: u8 = 2;
/// Initialized while it could not be reached.
const WITHOUT_SLOTS: u8 = 3;

/// What is to be done to one call.
#[derive(Default)]
pub(crate) struct Plan {
    /// The answer, without a call.
    pub(crate) answer: Option<CK_RV>,
    pub(crate) late: Option<CK_RV>,
    pub(crate) short: CK_ULONG,
    pub(crate) long: CK_ULONG,
    pub(crate) twice: bool,
    pub(crate) write_iv: bool,
    pub(crate) zero_iv: bool,
    pub(crate) too_small_first: bool,
    pub(crate) kill_after: bool,
    /// How many objects the token has room for, and how many bytes each value of one.
    pub(crate) max_objects: Option<CK_ULONG>,
    pub(crate) max_value: Option<CK_ULONG>,
    pub(crate) no_data_objects: bool,
    log: bool,
}

/// This copy of the module; none where there is no real one.
pub(crate) fn instance() -> Option<&'static Instance> {
    static INSTANCE: OnceLock<Option<Instance>> = OnceLock::new();
    INSTANCE.get_or_init(|| Instance::new().inspect_err(|error| eprintln!("keyward-fault: {error}")).ok()).as_ref()
}

/// As `kill -9` does: nothing is closed, flushed or told.
pub(crate) fn kill_this_process() -> ! {
    // SAFETY: a signal that no process survives, to this one.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    // Until it arrives.
    loop {
        thread::yield_now();
    }
}

fn own_path() -> Option<PathBuf> {
    // SAFETY: dladdr fills one structure; the name that it gives lives as long as this library.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let inside = own_path as *const () as *const libc::c_void;
        if libc::dladdr(inside, &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let name = std::ffi::OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes());
        std::fs::canonicalize(name).ok()
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

impl Instance {
    fn new() -> Result<Self, String> {
        let own = own_path().ok_or("cannot find its own file")?;
        let named = ["KEYWARD_FAULT_MODULE", "KEYWARD_TEST_MODULE"].into_iter().filter_map(std::env::var_os);
        let real = named.map(PathBuf::from).find(|path| std::fs::canonicalize(path).ok().as_deref() != Some(&own));
        let real = real.ok_or("KEYWARD_FAULT_MODULE does not name the real module")?;
        // SAFETY: the module is the one that the test names; its list lives as long as the library, which
        // is kept.
        let (library, list) = unsafe {
            let library = cryptoki_sys::Pkcs11::new(&real).map_err(|error| error.to_string())?;
            let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
            if library.C_GetFunctionList(&raw mut list) != CKR_OK || list.is_null() {
                return Err("the real module gives no functions".into());
            }
            (library, *list)
        };
        Ok(Self {
            real: list,
            _library: library,
            script_file: beside(&own, ".script"),
            log_file: beside(&own, ".log"),
            script: RwLock::new((None, Arc::new(Ok(Script::default())))),
            life: AtomicU8::new(NOT_INITIALIZED),
            real_is_initialized: AtomicBool::new(false),
            sessions: Mutex::default(),
            calls: RwLock::default(),
        })
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out what the script says before a call, and says what to do with the call itself.
    pub(crate) fn plan(&self, function: &'static str, session: Option<CK_SESSION_HANDLE>) -> Plan {
        let mut plan = Plan::default();
        let script = self.script();
        let actions = match &*script {
            Ok(script) => script.actions(function),
            Err(_) => {
                plan.answer = Some(CKR_FUNCTION_FAILED);
                return plan;
            }
        };
        let mut dead = false;
        for action in actions {
            match action {
                Action::Answer(code) => plan.answer = Some(code),
                Action::Late(code) => plan.late = Some(code),
                Action::Delay(duration) => thread::sleep(duration),
                Action::Hang => {
                    if plan.log {
                        self.write_log(function, "HANGS");
                    }
                    while Arc::ptr_eq(&script, &self.script()) {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
                Action::Short(n) => plan.short = n as CK_ULONG,
                Action::Long(n) => plan.long = n as CK_ULONG,
                Action::Twice => plan.twice = true,
                Action::DropSessions => self.drop_sessions(),
                Action::LoseLogin => self.lose_login(session),
                Action::WriteIv => plan.write_iv = true,
                Action::ZeroIv => (plan.write_iv, plan.zero_iv) = (true, true),
                Action::TooSmallFirst => plan.too_small_first = true,
                Action::Dead => dead = true,
                Action::Kill => kill_this_process(),
                Action::KillAfter => plan.kill_after = true,
                Action::Log => plan.log = true,
                Action::MaxObjects(n) => plan.max_objects = Some(n as CK_ULONG),
                Action::MaxValue(n) => plan.max_value = Some(n as CK_ULONG),
                Action::NoDataObjects => plan.no_data_objects = true,
            }
        }
        self.live(function, dead, &mut plan);
        plan
    }

    /// What the module's own state says of a call.
    fn live(&self, function: &'static str, dead: bool, plan: &mut Plan) {
        let life = self.life.load(Ordering::SeqCst);
        match function {
            "C_Initialize" if life != NOT_INITIALIZED => {
                plan.answer.get_or_insert(CKR_CRYPTOKI_ALREADY_INITIALIZED);
            }
            "C_Initialize" => {
                let to = if dead { WITHOUT_SLOTS } else { UP };
                if plan.answer.is_none() {
                    self.life.store(to, Ordering::SeqCst);
                }
            }
            _ if life == NOT_INITIALIZED => {
                plan.answer.get_or_insert(CKR_CRYPTOKI_NOT_INITIALIZED);
            }
            "C_Finalize" => {}
            _ => {
                if dead && self.life.compare_exchange(UP, DEAD, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    self.drop_sessions();
                }
                let life = self.life.load(Ordering::SeqCst);
                let reachable =
                    life == UP || (life == WITHOUT_SLOTS && matches!(function, "C_GetSlotList" | "C_GetInfo"));
                if !reachable {
                    plan.answer.get_or_insert(CKR_DEVICE_ERROR);
                }
            }
        }
    }

    pub(crate) fn has_no_slots(&self) -> bool {
        self.life.load(Ordering::SeqCst) == WITHOUT_SLOTS
    }

    /// Initializes the real module, which another instance may have done.
    pub(crate) fn initialize(&self, arguments: CK_VOID_PTR) -> CK_RV {
        if self.real_is_initialized.swap(true, Ordering::SeqCst) {
            return CKR_OK;
        }
        let Some(initialize) = self.real.C_Initialize else { return CKR_GENERAL_ERROR };
        // SAFETY: the caller's arguments.
        match unsafe { initialize(arguments) } {
            CKR_CRYPTOKI_ALREADY_INITIALIZED => CKR_OK,
            code => code,
        }
    }

    pub(crate) fn finalize(&self) -> CK_RV {
        self.drop_sessions();
        self.life.store(NOT_INITIALIZED, Ordering::SeqCst);
        CKR_OK
    }

    pub(crate) fn opened(&self, session: CK_SESSION_HANDLE, slot: CK_SLOT_ID) {
        self.sessions().slots.insert(session, slot);
    }

    pub(crate) fn closed(&self, session: CK_SESSION_HANDLE) {
        let mut sessions = self.sessions();
        sessions.slots.remove(&session);
        sessions.found_again.remove(&session);
        sessions.told_too_small.remove(&session);
    }

    fn drop_sessions(&self) {
        let _alone = self.calls.write();
        let dropped = std::mem::take(&mut *self.sessions());
        let Some(close) = self.real.C_CloseSession else { return };
        for session in dropped.slots.into_keys() {
            // SAFETY: a session of ours; should it be closed already, the module says so.
            unsafe { close(session) };
        }
    }

    fn lose_login(&self, session: Option<CK_SESSION_HANDLE>) {
        let ours = self.sessions().slots.clone();
        let slot = session.and_then(|session| ours.get(&session).copied());
        let _alone = self.calls.write();
        let mut left = HashSet::new();
        let Some(log_out) = self.real.C_Logout else { return };
        for (session, at) in ours {
            if slot.is_none_or(|slot| slot == at) && left.insert(at) {
                // SAFETY: as in `drop_sessions`.
                unsafe { log_out(session) };
            }
        }
    }

    /// The script as it is now.
    fn script(&self) -> Current {
        let stamp = std::fs::metadata(&self.script_file)
            .ok()
            .map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()));
        {
            let known = self.script.read().unwrap_or_else(PoisonError::into_inner);
            if known.0 == stamp {
                return Arc::clone(&known.1);
            }
        }
        let mut known = self.script.write().unwrap_or_else(PoisonError::into_inner);
        if known.0 != stamp {
            let text = std::fs::read_to_string(&self.script_file).unwrap_or_default();
            let script = Script::parse(&text);
            if let Err(line) = &script {
                eprintln!("keyward-fault: '{}' has a line that makes no sense: {line}", self.script_file.display());
            }
            *known = (stamp, Arc::new(script));
        }
        Arc::clone(&known.1)
    }

    /// What became of a call.
    pub(crate) fn done(&self, function: &str, plan: &Plan, code: CK_RV) {
        if plan.log {
            self.write_log(function, &codes::name(code));
        }
    }

    fn write_log(&self, function: &str, what: &str) {
        if let Ok(mut log) = OpenOptions::new().create(true).append(true).open(&self.log_file) {
            let _ = log.write_all(format!("{function} {what}\n").as_bytes());
        }
    }
}
