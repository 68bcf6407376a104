//! Passkeys: what is forged, replayed or used elsewhere is refused, and the honest one beside it is not.
