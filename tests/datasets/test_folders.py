from polyface.datasets import people_in_folders, pins, split_of


def test_nobody_of_a_folder_per_person_set_is_in_two_splits(tiny):
    root = tiny.root(tiny.layouts["pins"]())
    for split in pins.splits:
        people = {record.subject for record in pins.records(root, split).records}
        assert people and all(split_of(person) == split and person.startswith("Person ") for person in people)


def test_what_is_no_picture_in_a_folder_is_passed_over(tiny):
    mine = people_in_folders("mine", "Mine", "private", "")
    root = tiny.root({"Ann/1.jpg": tiny.noise(1), "Ann/2.PNG": tiny.noise(2), "Ann/notes.txt": "x", "Ann/.3.jpg": b"", "cover.jpg": tiny.noise(3)})
    assert [record.key for record in mine.list_records(root, split_of("Ann")).records] == ["Ann/1.jpg", "Ann/2.PNG"]
