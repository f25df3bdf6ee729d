//! What plans look like; under construction.
