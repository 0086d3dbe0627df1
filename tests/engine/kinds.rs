//! Keys that come in components, keys that are destroyed, tokens that are there already, and rehearsals.
