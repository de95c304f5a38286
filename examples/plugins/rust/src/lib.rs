//! stub
use xylem_kit::*;
struct P;
impl Plugin for P {
    fn init(_c: &str) -> Result<Self, String> { Ok(P) }
    fn transform(&self, _s: &Source, _r: &Record) -> Outcome { Outcome::Filter("x".into()) }
}
xylem_kit::export!(P);
