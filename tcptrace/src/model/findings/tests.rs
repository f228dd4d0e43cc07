use super::*;

#[test]
fn every_rule_has_thresholds_and_every_threshold_a_rule() {
    let rules: Vec<&str> = rules::all().iter().map(|rule| rule.id()).collect();
    assert_eq!(rules, thresholds::rule_ids());
    for (rule, key, value) in Thresholds::default().entries() {
        assert!(rules.contains(&rule) && !key.is_empty() && !value.is_empty(), "{rule}.{key}");
    }
}

#[test]
fn the_worst_is_the_greatest() {
    assert!(Severity::Critical > Severity::Warning && Severity::Warning > Severity::Info);
    assert!(Confidence::High > Confidence::Low);
}
