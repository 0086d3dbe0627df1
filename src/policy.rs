//! Policies: who may do what with which key under which encryption context, decided by Cedar.
