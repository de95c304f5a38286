//! What a running process shows of what it was trusted with: nothing (promise 10).

use std::time::Duration;

use aep_emulator::Style;
use xylem_tests::kafka::{self, Message};
use xylem_tests::{http, within};

use crate::world::{ORGANISATION, World};

const LIMIT: Duration = Duration::from_mins(3);

/// What AEP is told, and what a record holds that its plugin cannot read.
const SECRETS: [&str; 2] = ["geheim-of-the-client", "geheim-of-a-customer"];

/// One record is delivered with a token and one is dead-lettered; then everything that is shown is
/// searched, the log at its most talkative.
#[test]
fn invariant_10_a_running_process_shows_no_secret_and_no_contents() {
    within(LIMIT, || {
        let Some(kafka) = kafka::shared() else { return };
        let world = World::new(kafka, 1, Style::Production);
        let setup = world.orders().environment("CLIENT_SECRET", SECRETS[0]);
        let setup = setup.environment("XYLEM_LOG", "trace");
        let path = setup.folder().join("xylem.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let organisation = format!("  organisation: {ORGANISATION}\n");
        assert!(text.contains(&organisation));
        let auth = format!(
            "{organisation}  auth: {{token_url: '{}', client_id: me, \
             client_secret: '${{CLIENT_SECRET}}', scopes: [openid]}}\n",
            world.emulator.token_url(),
        );
        std::fs::write(&path, text.replace(&organisation, &auth)).unwrap();

        let mut xylem = setup.start();
        xylem.wait_ready();
        world.produce(1, 10);
        kafka.produce(&world.topic, [Message::new(SECRETS[1])]);
        world.wait_accepted(10);
        let letters = world.wait_dead(1);
        // It is where it belongs.
        assert_eq!(letters[0].payload.as_deref(), Some(SECRETS[1].as_bytes()));

        let port = xylem.admin_port();
        let mut shown = vec![("stdout", xylem.stdout()), ("stderr", xylem.stderr())];
        for page in ["/status", "/metrics", "/livez", "/readyz"] {
            shown.push((page, http::get(port, page).unwrap().body));
        }
        assert!(shown[1].1.to_lowercase().contains("trace"), "{}", shown[1].1);
        assert!(shown[2].1.contains("\"token\""), "{}", shown[2].1);
        for (place, text) in &shown {
            for secret in SECRETS {
                assert!(!text.contains(secret), "{place} shows `{secret}`:\n{text}");
            }
        }
        xylem.stop();
    });
}
