"""Studies: the file that says what is asked, and the flow that answers it."""

from aimed.core.room import share_name_with_verb

share_name_with_verb(__name__)
