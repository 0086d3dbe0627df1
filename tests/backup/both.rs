//! What holds on every token that has it. These cases run on SoftHSM, and on Kryoptic as well.

mod components;
mod initializing;
mod planned;
mod telling;
mod trusted_wrap;

use crate::tokens::*;
use crate::*;
use keyward::KeyAdmin;
