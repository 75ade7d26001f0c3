//! What the store's primitives guarantee, as small cases that every engine passes.
//!
//! A crate's tests expand all of them for an engine with one line. The factory is called once for each case and gives an
//! empty, prepared store together with whatever must live as long as it, such as a temporary folder:
//!
//! ```ignore
//! pulse_core::store_conformance!(conformance, async || (Arc::new(MemoryStore::new()) as SharedStore, ()));
//! ```
//!
//! A case is written once, in the file of its theme, and named in the list below.

pub mod batches;
pub mod documents;
pub mod filters;
pub mod increments;
pub mod logs;
pub mod pages;
pub mod queue;
pub mod races;
pub mod scans;
pub mod stale;
mod steps;
pub mod sweep;
pub mod unique;
pub mod values;

/// A module with a test for each case, on stores that the factory makes: an expression that is a function without
/// parameters whose future gives `(SharedStore, guard)`. The calling crate depends on `tokio` with `macros`.
#[macro_export]
macro_rules! store_conformance {
    ($engine:ident, $factory:expr) => {
        mod $engine {
            use super::*;

            $crate::store_conformance! {
                @cases $factory;
                documents {
                    a_document_reads_back_as_it_was_written
                    a_document_that_is_not_there_is_none
                    one_id_in_two_collections_is_two_documents
                    every_change_grows_the_version_by_one
                    a_replaced_document_keeps_nothing_of_the_old_one
                    a_deleted_document_is_gone_and_its_id_is_free
                    an_id_may_be_any_text
                    a_document_that_does_not_fit_is_refused
                    a_refused_document_refuses_its_whole_batch
                    a_batch_has_a_thousand_writes_at_most
                }
                stale {
                    a_replace_of_another_version_is_stale
                    a_replace_of_nothing_is_stale
                    a_delete_of_another_version_or_of_nothing_is_stale
                    of_many_requirements_the_first_that_does_not_hold_is_told
                    a_required_version_must_be_current
                    a_required_document_must_be_there
                    a_required_absence_must_be_so
                    a_requirement_changes_nothing
                    a_requirement_sees_the_writes_before_it
                }
                unique {
                    an_id_is_taken_once
                    a_unique_key_is_taken_once
                    a_clash_of_ids_is_told_before_one_of_keys
                    a_unique_key_of_two_fields_needs_both_to_clash
                    a_null_or_absent_field_frees_the_key
                    a_replace_keeps_its_own_key_and_cannot_take_anothers
                    a_stale_write_is_told_before_a_clash
                    a_delete_frees_the_key
                    a_batch_may_free_a_key_and_then_take_it
                    unique_texts_differ_by_any_byte
                    a_unique_key_finds_its_document
                }
                batches {
                    an_empty_batch_commits
                    a_batch_of_every_kind_of_write_commits
                    a_failed_write_takes_back_all_before_it
                    a_failed_batch_takes_back_every_change_of_one_document
                    the_first_failure_is_the_one_that_is_told
                    a_write_sees_the_writes_before_it
                    a_second_write_of_one_document_needs_its_new_version
                    a_check_tells_what_would_happen_and_changes_nothing
                    a_check_tells_of_failures
                    only_batches_that_bump_grow_the_generation
                }
                increments {
                    an_increment_adds_to_one_field_and_to_the_version
                    an_absent_or_null_number_counts_as_zero
                    an_increment_of_nothing_is_stale
                    an_increment_stays_within_its_bounds
                    a_sum_that_does_not_fit_is_out_of_bounds
                    an_increment_of_what_is_no_integer_is_refused
                    an_increment_moves_the_document_in_its_indexes
                    increments_of_one_batch_add_up
                    increments_at_once_all_land
                    a_bound_holds_against_increments_at_once
                }
                logs {
                    an_append_gives_a_record_its_number_and_hash
                    logs_are_numbered_and_chained_on_their_own
                    a_log_may_have_any_name
                    appends_of_one_batch_are_numbered_in_its_order
                    numbers_sort_as_numbers
                    a_failed_batch_burns_no_number
                    a_removed_record_does_not_give_its_number_back
                    a_log_ends_with_the_document_that_it_is_named_after
                    only_appends_write_to_a_log
                    appends_at_once_stay_dense_and_chained
                }
                races {
                    one_of_many_takes_a_unique_key
                    one_of_many_takes_an_id
                    one_of_many_replaces_a_version
                    of_two_that_change_what_the_other_requires_one_commits
                    of_two_that_insert_what_the_other_requires_absent_one_commits
                    transfers_at_once_lose_nothing
                }
                scans {
                    an_empty_list_is_one_empty_page
                    a_list_goes_up_or_down
                    rows_carry_document_and_version
                    ids_break_ties_in_the_direction_of_the_list
                    texts_sort_by_their_bytes
                    integers_sort_by_value
                    times_sort_by_moment_over_all_years
                    documents_without_a_field_are_not_in_its_index
                    a_changed_document_moves_in_its_indexes
                    a_range_of_times_has_its_start_but_not_its_end
                    a_range_of_ids_has_its_start_but_not_its_end
                    a_list_index_has_each_document_once_under_each_element
                    a_list_index_sorts_by_the_fields_after_the_list
                    a_count_stops_at_its_cap
                    a_list_of_ids_has_the_rows_of_the_list_without_their_documents
                    a_scan_that_the_table_does_not_declare_is_refused
                    a_position_of_another_list_is_a_bad_cursor
                }
                pages {
                    pages_hold_each_row_once
                    the_last_page_says_that_it_is
                    pages_go_on_where_the_last_row_was
                    pages_split_rows_of_one_key
                    a_page_may_begin_after_a_row_that_never_was
                    a_page_after_a_row_keeps_its_range
                    filtered_pages_hold_each_match_once
                    a_page_looks_at_ten_thousand_rows_at_most
                }
                filters {
                    equal_means_the_same_value_and_type
                    equal_to_null_means_absent_or_null
                    declared_fields_compare_as_they_are_written
                    a_prefix_is_plain_text
                    a_prefix_matches_texts_alone
                    one_of_means_equal_to_one
                    contains_means_an_element_of_a_list
                    all_conditions_hold_at_once
                    any_of_several_conditions_is_enough
                }
                values {
                    names_of_nested_fields_may_be_any_text
                    objects_that_look_like_an_engines_own_stay_as_they_are
                    names_that_an_engine_could_use_itself_are_free
                    texts_come_back_byte_for_byte
                    integers_come_back_over_all_64_bits
                    floats_come_back_exactly_and_as_floats
                    nulls_and_empty_values_come_back
                    deep_documents_come_back
                    large_documents_come_back
                    declared_fields_come_back_as_they_were_written
                }
                queue {
                    a_claim_gives_out_what_is_due_earliest_first
                    a_claimed_job_is_out_until_its_lease_ends
                    a_job_whose_lease_ended_is_due_again
                    only_the_last_claim_may_finish_a_job
                    two_claims_never_share_a_job
                    a_claim_of_nothing_or_from_no_queue_gives_nothing
                }
                sweep {
                    a_sweep_removes_what_is_over_and_nothing_else
                    a_sweep_leaves_what_never_ends
                    a_sweep_removes_no_more_than_its_limit
                    what_was_swept_is_gone_from_its_indexes
                    an_expiry_that_was_moved_counts_as_it_is_now
                }
            }
        }
    };
    (@cases $factory:expr; $($theme:ident { $($case:ident)+ })+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, guard) = ($factory)().await;
                $crate::store::testing::conformance::$theme::$case(&store).await;
                drop(store);
                drop(guard);
            }
        )+)+
    };
}

#[cfg(test)]
mod tests {
    /// The names between the list's opening and its end, and the names of the functions in the files of the themes.
    #[test]
    fn the_list_names_every_case_and_no_other() {
        let list = include_str!("conformance.rs");
        let (_, list) = list.split_once("@cases $factory;\n").expect("the list begins so");
        let (list, _) = list.split_once("            }\n        }\n").expect("the list ends so");
        let mut listed = Vec::new();
        let mut theme = "";
        for line in list.lines().map(str::trim).filter(|line| *line != "}") {
            match line.strip_suffix(" {") {
                Some(name) => theme = name,
                None => listed.push(format!("{theme}::{line}")),
            }
        }
        let mut written = Vec::new();
        for (theme, source) in SOURCES {
            let cases = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            written.extend(cases.filter_map(|line| line.split_once('(')).map(|(case, _)| format!("{theme}::{case}")));
        }
        listed.sort();
        written.sort();
        assert_eq!(listed, written);
    }

    const SOURCES: &[(&str, &str)] = &[
        ("documents", include_str!("conformance/documents.rs")),
        ("stale", include_str!("conformance/stale.rs")),
        ("unique", include_str!("conformance/unique.rs")),
        ("batches", include_str!("conformance/batches.rs")),
        ("increments", include_str!("conformance/increments.rs")),
        ("logs", include_str!("conformance/logs.rs")),
        ("races", include_str!("conformance/races.rs")),
        ("scans", include_str!("conformance/scans.rs")),
        ("pages", include_str!("conformance/pages.rs")),
        ("filters", include_str!("conformance/filters.rs")),
        ("values", include_str!("conformance/values.rs")),
        ("queue", include_str!("conformance/queue.rs")),
        ("sweep", include_str!("conformance/sweep.rs")),
    ];
}
