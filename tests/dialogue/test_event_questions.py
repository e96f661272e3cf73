"""Questions lose the form that they ask for times in, and nothing else."""

from museg.dialogue.event_questions import EventQuestion

CUT = EventQuestion(until="The format of your response should", then="Describe this event in detail.")


def test_the_form_is_cut_and_something_else_asked_for():
    asked = "When does 'a dog barks' happen? The format of your response should be: 'It is in <start> - <end> seconds'."
    assert CUT.of(asked) == "When does 'a dog barks' happen?\nDescribe this event in detail."


def test_a_question_without_that_form_stays_whole():
    assert CUT.of(" When does he wave? ") == "When does he wave?\nDescribe this event in detail."
    assert EventQuestion().of("Which? The format of your response should be A.").endswith("be A.")


def test_nothing_but_a_form_leaves_what_is_asked_for():
    assert CUT.of("The format of your response should be short.") == "Describe this event in detail."
